//! The listeners of the options.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use traffik::web::Networks;

use crate::admin::paths::Audience;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::listener::accept::Listener;
use crate::listener::activity::Patience;
use crate::listener::file_limit;
use crate::listener::slots::Slots;
use crate::listener::tls::Tls;
use crate::observe::log;
use crate::rls;
use crate::server::route::Door;

/// Most connections to the admin paths: some browsers, a collector of metrics and the probes.
const ADMINS: usize = 64;

/// Longest time that a proxy may keep a connection of the rate limit service without a call.
const QUIET: Duration = Duration::from_secs(3600);

/// The listeners, of which only that of clients has to be.
pub(super) struct Listeners {
    pub(super) clients: Listener,
    pub(super) admin: Option<Listener>,
    pub(super) auth: Option<Listener>,
    pub(super) rls: Option<Listener>,
}

impl Listeners {
    /// Binds the addresses of the options.
    ///
    /// # Errors
    ///
    /// Fails with the option whose address cannot be bound, or whose file cannot be read.
    pub(super) async fn bind(options: &Options, gateway: &Arc<Gateway>) -> Result<Self, String> {
        let most = file_limit::connections(file_limit::raise());
        let (patience, trusted) = (options.listener.patience(), &gateway.common.trusted);
        let tls = options.listener.tls().map(Tls::new).transpose()?;
        let audience = match options.operation.admin {
            Some(_) => Audience::Nobody,
            None => Audience::ThisMachine,
        };
        let slots = options.listener.slots(most, trusted)?;
        let clients =
            bind("--listen", options.listener.listen, Door::Clients(audience), slots, patience, tls).await?;
        let open = async |option, address: Option<SocketAddr>, door, most, patience| match address {
            Some(address) => {
                // Whoever is let in here is one of few.
                let slots = Slots::new(most, most, Networks::default());
                bind(option, address, door, slots, patience, None).await.map(Some)
            }
            None => Ok(None),
        };
        let admin = open("--admin", options.operation.admin, Door::Admin, ADMINS, patience).await?;
        let most = most.div_ceil(2);
        let auth = open("--auth", options.auth.auth, Door::Auth, most, patience).await?;
        let patience = Patience { idle: QUIET, ..patience };
        let routes = Door::RateLimits(rls::service::routes(gateway).await);
        let rls = open("--rls", options.rls.rls, routes, most, patience).await?;
        Ok(Self { clients, admin, auth, rls })
    }

    /// Prints the addresses, and logs them.
    pub(super) fn tell(&self) {
        let scheme = if self.clients.tls.is_some() { "https" } else { "http" };
        let said = format!("listening on {scheme}://{}", self.clients.address);
        log::say(&said);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "{said}");
        let others =
            [("admin paths", &self.admin), ("forward auth", &self.auth), ("rate limit service", &self.rls)];
        for (name, listener) in others {
            if let Some(listener) = listener {
                let said = format!("{name} on http://{}", listener.address);
                log::say(&said);
                tracing::info!("{said}");
            }
        }
    }
}

/// Binds a listener. Port 0 becomes the port that was picked.
async fn bind(
    option: &str,
    address: SocketAddr,
    door: Door,
    slots: Slots,
    patience: Patience,
    tls: Option<Tls>,
) -> Result<Listener, String> {
    let on_option = |error| format!("{option} {address}: {error}");
    let socket = TcpListener::bind(address).await.map_err(on_option)?;
    let address = socket.local_addr().map_err(on_option)?;
    Ok(Listener { socket, address, door, slots, patience, tls })
}
