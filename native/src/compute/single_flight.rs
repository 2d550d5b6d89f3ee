//! Rows that a job already holds: whoever wants the same row waits for that job instead of running it again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cache::memory::Key;
use crate::compute::job::Job;

/// By the cache's key of a row: the job that holds it, and its index there.
#[derive(Default)]
pub struct Flights(HashMap<Key, (Arc<Job>, usize)>);

impl Flights {
    pub fn get(&self, key: Key) -> Option<(&Arc<Job>, usize)> {
        self.0.get(&key).map(|(job, index)| (job, *index))
    }

    pub fn insert(&mut self, job: &Arc<Job>) {
        self.0.extend(job.run.keys.iter().enumerate().map(|(index, &key)| (key, (job.clone(), index))));
    }

    /// Forgets the rows of a job; those that another job holds by now stay.
    pub fn remove(&mut self, job: &Arc<Job>) {
        for key in &job.run.keys {
            if self.0.get(key).is_some_and(|(other, _)| Arc::ptr_eq(other, job)) {
                self.0.remove(key);
            }
        }
    }
}
