//! Model, alias or number → version: one table, swapped whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Code, Refusal};
use crate::limits::callers::Caller;
use crate::metrics::VersionCounters;

/// A model and the versions of it that may answer.
#[derive(Debug, Clone)]
pub struct Route {
    pub model: Box<str>,
    pub name: Box<str>,
    /// User id.
    pub owner: Box<str>,
    pub owner_username: Box<str>,
    /// The number of the version that answers.
    pub live: Option<u64>,
    /// Number → version id, of those that may answer.
    pub versions: HashMap<u64, Box<str>>,
    pub aliases: HashMap<Box<str>, u64>,
    pub levels: Levels,
    /// Of the first level. None takes the default; 0 turns it off.
    pub cache_ttl_seconds: Option<f64>,
    /// As `cache_ttl_seconds`, of the second.
    pub cache_l2_ttl_seconds: Option<f64>,
    /// Everybody may ask it.
    pub is_public: bool,
    /// User ids of others who may ask it.
    pub shared_with: HashSet<Box<str>>,
}

impl Route {
    fn is_visible_to(&self, caller: &Caller) -> bool {
        self.is_public || caller.is_admin || self.owner == caller.user || self.shared_with.contains(&caller.user)
    }

    /// Among whose requests the rows of a caller are cached: one user's, or those of all who ask a public model.
    pub fn tenant<'a>(&self, caller: &'a Caller) -> &'a str {
        if self.is_public { "" } else { &caller.user }
    }
}

/// The levels of the cache that a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    None,
    One,
    Two,
    /// The second one where it pays.
    Auto,
}

impl Levels {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => Some(Self::None),
            "l1" => Some(Self::One),
            "l2" => Some(Self::Two),
            "auto" => Some(Self::Auto),
            _ => None,
        }
    }
}

/// A version that a request asks, with what its answer needs.
#[derive(Debug)]
pub struct Target {
    pub version: Box<str>,
    pub number: u64,
    pub counters: Arc<VersionCounters>,
}

#[derive(Debug)]
pub struct PublishedModel {
    pub route: Route,
    /// The name as JSON text.
    pub name_json: Box<str>,
    targets: HashMap<u64, Arc<Target>>,
}

type Names = HashMap<Box<str>, Arc<PublishedModel>>;

#[derive(Debug, Default)]
pub struct Routes {
    ids: Names,
    /// User id → name → model.
    owners: HashMap<Box<str>, Names>,
    usernames: HashMap<Box<str>, Names>,
}

/// How a request chooses a version.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selector<'a> {
    pub version: Option<u64>,
    pub alias: Option<&'a str>,
}

impl Routes {
    /// `counters`: those of a version, by route and version id, made or found again.
    pub fn of(
        routes: impl IntoIterator<Item = Route>,
        mut counters: impl FnMut(&Route, u64, &str) -> Arc<VersionCounters>,
    ) -> Self {
        let mut table = Self::default();
        for route in routes {
            let targets = route.versions.iter().map(|(&number, version)| {
                let counters = counters(&route, number, version);
                (number, Arc::new(Target { version: version.clone(), number, counters }))
            });
            let name_json = serde_json::Value::from(&*route.name).to_string().into();
            table.publish(Arc::new(PublishedModel { targets: targets.collect(), name_json, route }));
        }
        table
    }

    fn publish(&mut self, published: Arc<PublishedModel>) {
        let route = &published.route;
        self.owners.entry(route.owner.clone()).or_default().insert(route.name.clone(), published.clone());
        self.usernames.entry(route.owner_username.clone()).or_default().insert(route.name.clone(), published.clone());
        self.ids.insert(route.model.clone(), published);
    }

    /// The model that `reference` names for a caller: an id, `owner/name`, or a bare name among the caller's own.
    ///
    /// What a caller may not see is unknown; what its key is not for is forbidden.
    pub fn model(&self, caller: &Caller, reference: &str) -> Result<&Arc<PublishedModel>, Refusal> {
        let published = self.named(caller, reference).filter(|published| published.route.is_visible_to(caller));
        let Some(published) = published else {
            return Err(Code::UnknownModel.because(vec![("model", reference.to_owned())]));
        };
        match &caller.models {
            Some(models) if !models.contains(&published.route.model) => {
                Err(Code::Forbidden.because(vec![("model", reference.to_owned())]))
            }
            _ => Ok(published),
        }
    }

    fn named(&self, caller: &Caller, reference: &str) -> Option<&Arc<PublishedModel>> {
        if let Some((username, name)) = reference.split_once('/') {
            return self.usernames.get(username)?.get(name);
        }
        self.ids.get(reference).or_else(|| self.owners.get(&caller.user)?.get(reference))
    }
}

impl PublishedModel {
    /// The version that `selector` chooses; the live one where it chooses none.
    pub fn target(&self, selector: Selector<'_>) -> Result<&Arc<Target>, Refusal> {
        let unknown = |version: String| {
            Code::UnknownVersion.because(vec![("model", self.route.name.to_string()), ("version", version)])
        };
        let number = match (selector.version, selector.alias) {
            (Some(_), Some(_)) => return Err(Code::AmbiguousSelector.because(vec![])),
            (Some(number), None) => Some(number),
            (None, Some(alias)) => Some(*self.route.aliases.get(alias).ok_or_else(|| unknown(alias.to_owned()))?),
            (None, None) => self.route.live,
        };
        let target = number.and_then(|number| self.targets.get(&number));
        target.ok_or_else(|| unknown(number.map_or_else(|| "live".to_owned(), |number| number.to_string())))
    }

    /// A version by its id.
    pub fn version(&self, id: &str) -> Result<&Arc<Target>, Refusal> {
        let unknown =
            || Code::UnknownVersion.because(vec![("model", self.route.name.to_string()), ("version", id.to_owned())]);
        self.targets.values().find(|target| *target.version == *id).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(model: &str, owner: &str, name: &str) -> Route {
        Route {
            model: model.into(),
            name: name.into(),
            owner: format!("usr_{owner}").into(),
            owner_username: owner.into(),
            live: Some(2),
            versions: [(1, "ver_1".into()), (2, "ver_2".into())].into(),
            aliases: [("canary".into(), 1)].into(),
            levels: Levels::Auto,
            cache_ttl_seconds: None,
            cache_l2_ttl_seconds: None,
            is_public: false,
            shared_with: HashSet::new(),
        }
    }

    fn caller(owner: &str, is_admin: bool) -> Caller {
        let (models, buckets, meter, quota) = Default::default();
        let user = format!("usr_{owner}").into();
        Caller { user, is_admin, can_predict: true, models, expires_seconds: f64::INFINITY, buckets, meter, quota }
    }

    fn table() -> Routes {
        Routes::of([route("mdl_1", "ada", "iris"), route("mdl_2", "bob", "iris")], |_, _, _| Arc::default())
    }

    fn model_of(caller: &Caller, reference: &str) -> Result<String, Code> {
        table().model(caller, reference).map(|found| found.route.model.to_string()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_bare_name_is_among_the_callers_own() {
        assert_eq!(model_of(&caller("ada", false), "iris").unwrap(), "mdl_1");
        assert_eq!(model_of(&caller("bob", true), "iris").unwrap(), "mdl_2");
    }

    #[test]
    fn others_models_are_unknown_but_to_an_administrator() {
        for reference in ["mdl_2", "bob/iris"] {
            assert_eq!(model_of(&caller("ada", false), reference), Err(Code::UnknownModel));
            assert_eq!(model_of(&caller("ada", true), reference).unwrap(), "mdl_2");
        }
    }

    #[test]
    fn a_shared_model_is_there_for_those_it_is_shared_with_by_id_and_full_name() {
        let shared = Route { shared_with: ["usr_bob".into()].into(), ..route("mdl_1", "ada", "iris") };
        let public = Route { is_public: true, ..route("mdl_2", "ada", "wine") };
        let table = Routes::of([shared, public], |_, _, _| Arc::default());
        let sees = |user: &str, reference: &str| table.model(&caller(user, false), reference).is_ok();
        for (reference, bob, eve) in [
            ("mdl_1", true, false),
            ("ada/iris", true, false),
            ("iris", false, false),
            ("mdl_2", true, true),
            ("ada/wine", true, true),
        ] {
            assert_eq!((sees("bob", reference), sees("eve", reference)), (bob, eve), "{reference}");
        }
        let limited = Caller { models: Some(vec!["mdl_9".into()]), ..caller("bob", false) };
        assert_eq!(table.model(&limited, "ada/iris").unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn a_key_for_other_models_is_forbidden() {
        let limited = Caller { models: Some(vec!["mdl_9".into()]), ..caller("ada", false) };
        assert_eq!(model_of(&limited, "iris"), Err(Code::Forbidden));
    }

    #[test]
    fn a_selector_chooses_the_version() {
        let table = table();
        let published = table.model(&caller("ada", false), "iris").unwrap();
        let number = |version, alias| {
            published.target(Selector { version, alias }).map(|target| target.number).map_err(|refusal| refusal.code)
        };
        assert_eq!(number(None, None), Ok(2));
        assert_eq!(number(Some(1), None), Ok(1));
        assert_eq!(number(None, Some("canary")), Ok(1));
        assert_eq!(number(Some(3), None), Err(Code::UnknownVersion));
        assert_eq!(number(None, Some("stable")), Err(Code::UnknownVersion));
        assert_eq!(number(Some(1), Some("canary")), Err(Code::AmbiguousSelector));
    }
}
