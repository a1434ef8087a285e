//! The access that the options give to the admin paths.

pub(crate) mod token;

use std::net::IpAddr;

use http::HeaderMap;

use crate::access::token::TokenCheck;
use crate::config::host_name::HostName;
use crate::config::operation_options::OperationOptions;
use crate::response::GatewayResponse;

/// The access that the options give to the admin paths.
pub(crate) struct AdminAccess {
    /// The hosts that `--admin` answers to, beside this machine and the address of a connection.
    pub(crate) hosts: Vec<HostName>,
    /// The check of tokens, if the paths that show keys of clients need one.
    pub(crate) token: Option<TokenCheck>,
}

impl AdminAccess {
    /// Reads the token.
    ///
    /// # Errors
    ///
    /// Fails if the file of the token has none.
    pub(crate) fn new(options: &OperationOptions) -> Result<Self, String> {
        let token = options.admin_token_file.as_deref().map(TokenCheck::read).transpose()?;
        Ok(Self { hosts: options.admin_host.clone(), token })
    }

    /// Returns the refusal of a request for keys of clients, if it needs a token and does not send it.
    pub(crate) fn refusal(&self, headers: &HeaderMap, peer: IpAddr) -> Option<GatewayResponse> {
        self.token.as_ref()?.refusal(headers, peer)
    }
}
