//! Something that all clients share, as the places in the app: how much of it one client may hold, and how much is kept
//! for clients that are known.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// The prefix that one subscriber has at least (RFC 6177), as `serval.settings.addresses.limited_network` has it.
const SITE_BITS: u32 = 64;

/// Who holds a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Has presented a credential that was good lately.
    User(Box<str>),
    /// Anybody else at an address.
    Address(IpAddr),
}

impl Holder {
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let mask = u128::MAX << (u128::BITS - SITE_BITS);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// How much there is, and how much of it may be held at the same time.
#[derive(Debug, Clone, Copy)]
pub struct ShareLimits {
    pub total: usize,
    pub user: usize,
    pub address: usize,
    /// By all addresses together; the rest is kept for users.
    pub addresses: usize,
}

/// Why there is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// All that there is, or all that addresses may hold.
    Everything,
    /// What this holder may hold.
    ByHolder,
}

#[derive(Debug)]
pub struct Shares {
    limits: ShareLimits,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    addresses: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Shares {
    pub fn new(limits: ShareLimits) -> Arc<Self> {
        Arc::new(Self { limits, held: Mutex::default() })
    }

    pub fn held(&self) -> usize {
        lock(&self.held).total
    }

    pub fn take(self: &Arc<Self>, holder: Holder, amount: usize) -> Result<Share, Exhausted> {
        let mut share = Share { shares: self.clone(), holder, amount: 0 };
        share.grow(amount)?;
        Ok(share)
    }

    fn add(&self, holder: &Holder, more: usize) -> Result<(), Exhausted> {
        let mut held = lock(&self.held);
        let is_address = matches!(holder, Holder::Address(_));
        let by_holder = held.by_holder.get(holder).copied().unwrap_or_default() + more;
        if by_holder > if is_address { self.limits.address } else { self.limits.user } {
            return Err(Exhausted::ByHolder);
        }
        if held.total + more > self.limits.total || (is_address && held.addresses + more > self.limits.addresses) {
            return Err(Exhausted::Everything);
        }
        held.total += more;
        if is_address {
            held.addresses += more;
        }
        held.by_holder.insert(holder.clone(), by_holder);
        Ok(())
    }

    fn remove(&self, holder: &Holder, amount: usize) {
        let mut held = lock(&self.held);
        held.total -= amount;
        if matches!(holder, Holder::Address(_)) {
            held.addresses -= amount;
        }
        if let Some(by_holder) = held.by_holder.get_mut(holder) {
            *by_holder -= amount;
            if *by_holder == 0 {
                held.by_holder.remove(holder);
            }
        }
    }
}

/// What one holder has taken, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    holder: Holder,
    amount: usize,
}

impl Share {
    pub fn amount(&self) -> usize {
        self.amount
    }

    pub fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        if more > 0 {
            self.shares.add(&self.holder, more)?;
            self.amount += more;
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.shares.remove(&self.holder, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ShareLimits = ShareLimits { total: 8, user: 4, address: 2, addresses: 5 };

    fn address(text: &str) -> Holder {
        Holder::of_address(text.parse().unwrap())
    }

    #[test]
    fn an_address_holds_its_part_and_leaves_the_rest_to_others() {
        let shares = Shares::new(LIMITS);
        let _one = shares.take(address("192.0.2.1"), 2).unwrap();
        assert_eq!(shares.take(address("::ffff:192.0.2.1"), 1).unwrap_err(), Exhausted::ByHolder);
        let other = shares.take(address("192.0.2.2"), 2).unwrap();
        let _third = shares.take(address("192.0.2.3"), 1).unwrap();
        assert_eq!(shares.take(address("192.0.2.3"), 1).unwrap_err(), Exhausted::Everything);
        let mut user = shares.take(Holder::User("usr_1".into()), 3).unwrap();
        assert_eq!(user.grow(2).unwrap_err(), Exhausted::ByHolder);
        drop(other);
        assert_eq!(shares.held(), 6);
        assert!(shares.take(address("192.0.2.3"), 1).is_ok());
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let shares = Shares::new(LIMITS);
        let mut share = shares.take(Holder::User("usr_1".into()), 0).unwrap();
        share.grow(3).unwrap();
        assert!(share.grow(2).is_err());
        assert_eq!((share.amount(), shares.held()), (3, 3));
        drop(share);
        assert_eq!(shares.held(), 0);
        assert!(lock(&shares.held).by_holder.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_holder() {
        assert_eq!(address("2001:db8:0:1::1"), address("2001:db8:0:1:2::3"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }
}
