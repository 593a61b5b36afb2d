//! URLs that name several servers, in the form of libpq: `postgres://u:p@a:5432,b:5432/db`, or with
//! lists in the parameters `host`, `hostaddr` and `port`.
//!
//! The driver knows none of that. Each server gets a URL of its own, which the driver reads: what
//! it says of passwords, TLS and the rest is the same for one server and for many.

use std::borrow::Cow;

use sqlx::postgres::PgConnectOptions;

use crate::error::Error;

/// The parameter that says which of the servers is wanted.
const WANTED: &str = "target_session_attrs";
/// Its values that the one that takes writes satisfies. Others want one that takes none.
const SATISFIED: [&str; 3] = ["read-write", "primary", "any"];
/// The parameters that may be lists, with one entry for each server.
const LISTS: [&str; 3] = ["host", "hostaddr", "port"];
/// Those of them that name the servers.
const HOSTS: [&str; 2] = ["host", "hostaddr"];

/// The servers that `url` names, in its order: at least one.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`, and quotes nothing of it: it holds a password.
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, Error> {
    let Some(parts) = Parts::of(url)? else {
        return Ok(vec![one(url)?]);
    };
    let count = parts.count()?;
    (0..count)
        .map(|number| one(&parts.url_of(number)))
        .collect()
}

/// Reads the URL of one server.
fn one(url: &str) -> Result<PgConnectOptions, Error> {
    // The driver's message may quote the URL.
    url.parse().map_err(|_| refused("is not a Postgres URL"))
}

fn refused(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::invalid("database_url", reason)
}

/// A URL in pieces.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    hosts: Vec<&'a str>,
    path: &'a str,
    parameters: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Parts<'a> {
    /// Those of a URL that the driver cannot read as it is: it says which of the servers is wanted,
    /// or names several.
    fn of(url: &'a str) -> Result<Option<Self>, Error> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(None);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut parameters, mut says_which) = (Vec::new(), false);
        for parameter in query.split('&').filter(|one| !one.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name == WANTED {
                check_wanted(value)?;
                says_which = true;
            } else {
                parameters.push((name, values(name, value)));
            }
        }
        let parts = Self {
            scheme,
            user,
            hosts: hosts.split(',').collect(),
            path,
            parameters,
        };
        let is_list = |(_, values): &(_, Vec<String>)| values.len() > 1;
        let is_plain = parts.hosts.len() == 1 && !parts.parameters.iter().any(is_list);
        Ok((says_which || !is_plain).then_some(parts))
    }

    /// The number of servers. Each list has an entry for each of them, but for one port of all.
    fn count(&self) -> Result<usize, Error> {
        let named = self.parameters.iter();
        let named = named.filter(|(name, _)| HOSTS.contains(name));
        let most = named.map(|(_, values)| values.len()).max();
        let count = most.unwrap_or(0).max(self.hosts.len());
        for (name, values) in &self.parameters {
            let is_for_all = *name == "port" && values.len() == 1;
            if LISTS.contains(name) && values.len() != count && !is_for_all {
                let found = values.len();
                let reason = format!("names {count} servers, and {found} values of `{name}`");
                return Err(refused(reason));
            }
            if values.len() > 1 && values.iter().any(String::is_empty) {
                return Err(refused(format!("has an empty value of `{name}`")));
            }
        }
        let found = self.hosts.len();
        if found > 1
            && self
                .hosts
                .iter()
                .any(|one| one.is_empty() || one.starts_with(':'))
        {
            return Err(refused("names a server without its host"));
        }
        if found != count && self.hosts != [""] {
            let reason = format!("names {found} servers, and {count} values of `host`");
            return Err(refused(reason));
        }
        Ok(count)
    }

    /// The URL of one of the servers.
    fn url_of(&self, number: usize) -> String {
        let mut url = format!("{}://", self.scheme);
        if let Some(user) = self.user {
            url = url + user + "@";
        }
        let host = self.hosts.get(number).copied().unwrap_or_default();
        let is_named_below = self.parameters.iter().any(|(name, _)| HOSTS.contains(name));
        // A user without a host is no URL; the parameter is what counts.
        url += if host.is_empty() && is_named_below {
            "localhost"
        } else {
            host
        };
        url += self.path;
        let mut separator = '?';
        for (name, values) in &self.parameters {
            if let Some(value) = values.get(number).or(values.first()) {
                url = format!("{url}{separator}{name}={value}");
                separator = '&';
            }
        }
        url
    }
}

fn check_wanted(value: &str) -> Result<(), Error> {
    if SATISFIED.contains(&value) {
        return Ok(());
    }
    Err(refused(format!(
        "has a `{WANTED}` that is none of {}: nothing is sold on a server that takes no writes",
        SATISFIED.join(", ")
    )))
}

/// The values of a parameter: one, unless it is a list.
fn values(name: &str, value: &str) -> Vec<String> {
    if !LISTS.contains(&name) {
        return vec![value.to_owned()];
    }
    let plain = value.replace("%2C", ",").replace("%2c", ",");
    plain.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Vec<(String, u16)> {
        let parsed = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let server = |one: &PgConnectOptions| (one.get_host().to_owned(), one.get_port());
        parsed.iter().map(server).collect()
    }

    #[test]
    fn every_form_of_several_servers_is_read() {
        let ab = [("a".to_owned(), 5432), ("b".to_owned(), 5433)];
        for url in [
            "postgres://u:p@a:5432,b:5433/db",
            "postgresql://u:p@a,b:5433/db?target_session_attrs=read-write",
            "postgres://u:p@a:5432,b:5433/db?target_session_attrs=any&sslmode=disable",
            "postgres://u:p,q@a:5432,b:5433?target_session_attrs=primary",
            "postgres:///db?host=a,b&port=5432,5433&user=u",
            "postgres://u@/db?host=a%2Cb&port=5432%2C5433",
        ] {
            assert_eq!(servers(url), ab, "{url}");
        }
        let v6 = servers("postgres://u@[::1]:5432,[::2]:5433/db");
        assert_eq!(v6.iter().map(|one| one.1).collect::<Vec<_>>(), [5432, 5433]);
        let one_port = servers("postgres://u@/db?host=a,b&port=6000");
        assert_eq!(
            one_port.iter().map(|one| one.1).collect::<Vec<_>>(),
            [6000, 6000]
        );
        let addresses = servers("postgres://u@/db?hostaddr=127.0.0.1,127.0.0.2");
        assert_eq!(addresses[1].0, "127.0.0.2");
        let all = parse("postgres://%75:p@a,b/db?application_name=x").unwrap();
        for one in &all {
            assert_eq!((one.get_username(), one.get_database()), ("u", Some("db")));
            assert_eq!(one.get_application_name(), Some("x"));
        }
    }

    #[test]
    fn one_server_is_as_it_was() {
        for url in [
            "postgres://u:p@a:5433/db?sslmode=disable",
            "postgres://u:p@a:5433/db?target_session_attrs=read-write&sslmode=disable",
        ] {
            assert_eq!(servers(url), [("a".to_owned(), 5433)], "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_by_the_name_of_the_setting_and_without_its_password() {
        for (url, said) in [
            ("postgres://u:s3cr3t@a:5432,b:x/db", "is not a Postgres URL"),
            ("postgres://u:s3cr3t@a:5432,,b/db", "without its host"),
            ("postgres://u:s3cr3t@a,b,/db", "without its host"),
            ("postgres://u:s3cr3t@a,:5433/db", "without its host"),
            (
                "postgres://u:s3cr3t@/db?host=a,b&port=1,2,3",
                "2 servers, and 3 values of `port`",
            ),
            (
                "postgres://u:s3cr3t@/db?host=a&port=1,2",
                "1 servers, and 2 values of `port`",
            ),
            (
                "postgres://u:s3cr3t@a,b,c/db?host=a,b",
                "3 servers, and 2 values of `host`",
            ),
            (
                "postgres://u:s3cr3t@/db?host=a,,b",
                "an empty value of `host`",
            ),
            (
                "postgres://u:s3cr3t@a,b/db?target_session_attrs=standby",
                "target_session_attrs",
            ),
            (
                "postgres://u:s3cr3t@a/db?target_session_attrs=",
                "read-write, primary, any",
            ),
        ] {
            let refused = parse(url).unwrap_err().to_string();
            assert!(refused.starts_with("database_url "), "{url}: {refused}");
            assert!(
                refused.contains(said) && !refused.contains("s3cr3t"),
                "{url}: {refused}"
            );
        }
    }
}
