//! Two throttles of one name on one storage: refused, unless that is meant.

use std::sync::Arc;

use traffik::layer::StorageExt;
use traffik::storage::DynStorage;
use traffik::web::{Scope, Tenants, Throttle, ThrottleError};
use traffik::{Gcra, TokenBucket, rate};

use crate::{Clock, memory, request};

const LIMIT: TokenBucket = TokenBucket::new(rate!("2/h"));

#[tokio::test]
async fn two_throttles_of_one_name_on_one_storage_are_refused() {
    let clock = Clock::default();
    let storage = Arc::new(memory(&clock));
    let first = Throttle::builder("api", LIMIT, storage.clone()).build().unwrap();
    let second = || Throttle::builder("api", LIMIT, storage.clone());
    let error = second().build().unwrap_err();
    assert_eq!(error, ThrottleError::Shared("api".to_owned()));
    for cure in ["clone it", "another name", "shared()"] {
        assert!(error.to_string().contains(cure), "{error}");
    }
    // Behind a layer it is the same storage, and so it is for a limit of another type.
    let layered: DynStorage<TokenBucket> =
        Arc::new(storage.clone().with_timeout(traffik::runtime::Tokio, std::time::Duration::from_secs(1)));
    assert!(Throttle::builder("api", LIMIT, layered).build().is_err());
    // The storage may hold other limits.
    assert!(Throttle::builder("other", LIMIT, storage.clone()).build().is_ok());
    assert!(second().scope(Scope::from("exports")).build().is_ok());
    assert!(Throttle::builder("api", LIMIT, Arc::new(memory(&clock))).build().is_ok());
    assert!(
        Throttle::in_memory("api", LIMIT).build().is_ok()
            && Throttle::in_memory("api", LIMIT).build().is_ok()
    );

    // A clone is the same throttle, and keeps its name until it is gone, too.
    let clone = first.clone();
    drop(first);
    assert!(second().build().is_err());
    drop(clone);
    let again = second().build().unwrap();

    // On purpose: the limit is read anew while the one before serves.
    let reloaded = second().shared().build().unwrap();
    assert!(again.hit(&request(1)).await.is_ok() && reloaded.hit(&request(1)).await.is_ok());
    assert!(again.hit(&request(1)).await.is_err(), "they count as one");
    drop(again);
    assert!(second().build().is_err(), "one that shares its name has it all the same");
    drop(reloaded);
    assert!(second().build().is_ok());
}

/// A storage that is chosen for each request is not looked at, and one that cannot be told apart neither.
#[test]
fn what_is_not_noticed_is_built() {
    let tenants = Arc::new(Tenants::new(10));
    let make = || {
        let tenants = Arc::clone(&tenants);
        Throttle::builder_by("api", Gcra::new(rate!("1/s")), move |_| {
            tenants.get(1, |_| Arc::new(memory(&Clock::default())))
        })
    };
    assert!([make().build(), make().build()].iter().all(Result::is_ok));
    let down = || Throttle::builder("api", LIMIT, crate::Broken(traffik::ErrorKind::Other)).build();
    assert!([down(), down()].iter().all(Result::is_ok));
}

/// While a throttle cannot be built, nothing is taken.
#[test]
fn a_throttle_that_is_not_built_takes_no_name() {
    let storage = Arc::new(memory::<TokenBucket>(&Clock::default()));
    let registry = traffik::web::Registry::default();
    let build = || Throttle::builder("api", LIMIT, storage.clone()).register(&registry);
    let first = build().build().unwrap();
    assert_eq!(build().build().unwrap_err(), ThrottleError::Taken("api".to_owned()));
    drop(first);
    let first = Throttle::builder("api", LIMIT, storage.clone()).build().unwrap();
    assert_eq!(build().build().unwrap_err(), ThrottleError::Shared("api".to_owned()));
    assert!(registry.names().is_empty(), "the name in the registry is given back");
    drop(first);
    assert!(build().build().is_ok());
}
