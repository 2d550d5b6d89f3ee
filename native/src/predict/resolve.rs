//! Caller, model and selector → the version that answers.

use std::sync::Arc;

use crate::clock::now_seconds;
use crate::error::{Code, Refusal};
use crate::limits::callers::Caller;
use crate::plane::Plane;
use crate::predict::prediction::ResolvedVersion;
use crate::predict::request::VersionRef;
use crate::predict::routes::{PublishedModel, Selector, Target};

impl Plane {
    /// The model and version that `answer` would use.
    pub fn find(&self, caller: &[u8], model: &str, selector: Selector<'_>) -> Result<VersionRef, Refusal> {
        let caller = self.callers.permitted(caller, now_seconds())?;
        let routes = self.routes.load();
        let published = routes.model(&caller, model)?;
        Ok(VersionRef::of(published, published.target(selector)?))
    }

    /// The version that `selector` chooses of a model, loaded.
    pub fn resolve(
        &self,
        caller: Arc<Caller>,
        model: &str,
        selector: Selector<'_>,
    ) -> Result<ResolvedVersion, Refusal> {
        let routes = self.routes.load();
        let published = routes.model(&caller, model)?;
        self.loaded(published, published.target(selector)?, caller)
    }

    /// A version of a model by its id, loaded.
    pub fn resolve_by_id(&self, caller: Arc<Caller>, model: &str, version: &str) -> Result<ResolvedVersion, Refusal> {
        let routes = self.routes.load();
        let published = routes.model(&caller, model)?;
        self.loaded(published, published.version(version)?, caller)
    }

    fn loaded(
        &self,
        published: &Arc<PublishedModel>,
        target: &Arc<Target>,
        caller: Arc<Caller>,
    ) -> Result<ResolvedVersion, Refusal> {
        let loading = || {
            Code::ModelLoading.because(vec![
                ("model", published.route.name.to_string()),
                ("version", target.number.to_string()),
                ("version_id", target.version.to_string()),
            ])
        };
        let version = self.engine.version(&target.version).ok_or_else(loading)?;
        Ok(ResolvedVersion { caller, published: published.clone(), target: target.clone(), version })
    }
}
