//! The listeners of the options.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use traffik::web::Networks;

use crate::admin::paths::Audience;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::listener::accept::DoorListener;
use crate::listener::activity::ClientDeadlines;
use crate::listener::file_limit;
use crate::listener::places::Places;
use crate::listener::route::Door;
use crate::listener::tls::Tls;
use crate::observe::log;
use crate::rls;

/// Most connections to the admin paths: some browsers, a collector of metrics and the probes.
const ADMINS: usize = 64;

/// Longest time that a proxy may keep a connection of the rate limit service without a call.
const QUIET: Duration = Duration::from_secs(3600);

/// The listeners, of which only that of clients has to be.
pub(super) struct Listeners {
    pub(super) clients: DoorListener,
    pub(super) admin: Option<DoorListener>,
    pub(super) auth: Option<DoorListener>,
    pub(super) rls: Option<DoorListener>,
}

impl Listeners {
    /// Binds the addresses of the options.
    ///
    /// # Errors
    ///
    /// Fails with the option whose address cannot be bound, or whose file cannot be read.
    pub(super) async fn bind(options: &Options, gateway: &Arc<Gateway>) -> Result<Self, String> {
        let most = file_limit::connections(file_limit::raise());
        let (deadlines, trusted) = (ClientDeadlines::of(&options.listener), &gateway.common.trusted);
        let tls = options.listener.tls().map(Tls::new).transpose()?;
        let audience = match options.operation.admin {
            Some(_) => Audience::Nobody,
            None => Audience::ThisMachine,
        };
        let places = Places::of(&options.listener, most, trusted)?;
        let clients =
            bind("--listen", options.listener.listen, Door::Clients(audience), places, deadlines, tls)
                .await?;
        let open = async |option, address: Option<SocketAddr>, door, most, deadlines| match address {
            Some(address) => {
                // These doors are for few peers, such as one proxy, so a share for each would only limit it.
                let places = Places::new(most, most, Networks::default());
                bind(option, address, door, places, deadlines, None).await.map(Some)
            }
            None => Ok(None),
        };
        let admin = open("--admin", options.operation.admin, Door::Admin, ADMINS, deadlines).await?;
        let most = most.div_ceil(2);
        let auth = open("--auth", options.auth.auth, Door::Auth, most, deadlines).await?;
        let deadlines = ClientDeadlines { idle: QUIET, ..deadlines };
        let routes = Door::RateLimits(rls::service::routes(gateway).await);
        let rls = open("--rls", options.rls.rls, routes, most, deadlines).await?;
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
    places: Places,
    deadlines: ClientDeadlines,
    tls: Option<Tls>,
) -> Result<DoorListener, String> {
    let on_option = |error| format!("{option} {address}: {error}");
    let socket = TcpListener::bind(address).await.map_err(on_option)?;
    let address = socket.local_addr().map_err(on_option)?;
    Ok(DoorListener { socket, address, door, places, deadlines, tls })
}
