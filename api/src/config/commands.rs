//! What operators write on the command line.

use clap::Subcommand;

/// What the API program can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serves until SIGTERM or SIGINT (default)
    Serve,
    /// Prints the OpenAPI document; needs no configuration
    Openapi,
    /// Makes accounts, and changes what they may do; needs the same variables as `serve`
    #[command(subcommand)]
    User(UserCommand),
}

/// What an operator can do with accounts.
#[derive(Debug, Clone, Subcommand)]
pub enum UserCommand {
    /// Makes an account, also where registration is closed, and prints its id
    Create {
        /// Its e-mail address
        #[arg(long)]
        email: String,
        /// What others see, 2 to 50 characters
        #[arg(long)]
        name: Option<String>,
        /// Makes it an operator's
        #[arg(long)]
        admin: bool,
        /// Reads the password from standard input up to the end of its first line, instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Makes an account an operator's
    Promote(Account),
    /// Makes an operator's account like any other
    Demote(Account),
    /// Bars an account, at once
    Suspend(Account),
    /// Lets a suspended account in again
    Reinstate(Account),
    /// Deletes an account with all that belongs to it, for good
    Delete {
        /// Which account
        #[command(flatten)]
        account: Account,
        /// Goes on without asking
        #[arg(long)]
        yes: bool,
    },
    /// Says that the address of an account is its owner's
    Verify(Account),
    /// Gives an account the limits and features of a tier
    SetTier {
        /// Which account
        #[command(flatten)]
        account: Account,
        /// Its tier
        #[arg(long)]
        tier: TierName,
    },
}

/// A tier, as an operator writes it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum TierName {
    /// The smallest limits
    Free,
    /// Larger ones
    Pro,
    /// The largest ones
    Enterprise,
}

/// Which account.
#[derive(Debug, Clone, clap::Args)]
pub struct Account {
    /// Its e-mail address
    #[arg(long)]
    pub email: String,
}
