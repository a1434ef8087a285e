//! The methods of a storage that a layer passes to the storage within.

/// Writes methods of [`AsyncStorage`](traffik_core::storage::AsyncStorage) that call the storage within,
/// such as `delegate!(self => self.storage; is_local, wait_queue);`.
macro_rules! delegate {
    ($self:ident => $within:expr; $($method:ident),+) => {
        $(delegate!(@$method $self => $within);)+
    };
    // A layer passes a late call on like any other.
    (@apply_due $self:ident => $within:expr) => {
        fn apply_due(
            &$self,
            strategy: &S,
            key: &dyn ErasedKey,
            op: &Op<S>,
            _: std::ops::Range<Timestamp>,
        ) -> (Reply<S::Verdict>, Option<Timestamp>) {
            ($self.apply(strategy, key, op), None)
        }
    };
    (@node $self:ident => $within:expr) => {
        fn node(&$self, key: &dyn ErasedKey) -> Option<std::sync::Arc<str>> {
            $within.node(key)
        }
    };
    (@is_local $self:ident => $within:expr) => {
        fn is_local(&$self) -> bool {
            $within.is_local()
        }
    };
    (@known_denial $self:ident => $within:expr) => {
        fn known_denial(&$self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
            $within.known_denial(strategy, key, hit)
        }
    };
    (@wait_queue $self:ident => $within:expr) => {
        fn wait_queue(&$self) -> Option<&dyn traffik_core::storage::WaitQueue> {
            $within.wait_queue()
        }
    };
}
pub(super) use delegate;
