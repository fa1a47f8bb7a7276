//! The user and the password with which a store is asked, from wherever a lock URL says that they
//! are.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::aside::Aside;
use crate::failure::Failure;

/// Gives a password, or says without it why there is none.
type Asked = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Who logs in, and with which password. `Debug` shows neither.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: Password,
    aside: Aside,
}

#[derive(Clone)]
enum Password {
    Given(String),
    File(PathBuf),
    Asked(Asked),
}

/// The parts of a lock URL that say who logs in, decoded.
#[derive(Clone, Copy, Default)]
pub struct LoginParts<'a> {
    /// The user before the `@`.
    pub user_before_host: Option<&'a str>,
    /// The password before the `@`. An empty one is none.
    pub password_before_host: Option<&'a str>,
    /// `user=`.
    pub user: Option<&'a str>,
    /// `password_env=`: the environment variable with the password.
    pub password_env: Option<&'a str>,
    /// `password_file=`: the file with the password, without a newline at its end.
    pub password_file: Option<&'a str>,
    /// The user of a password that names none, where the store has such a user.
    pub default_user: Option<&'a str>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// With this password.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::with(user.into(), Password::Given(password.into()))
    }

    /// With a password that is asked for at every login, since it may change meanwhile. An error is
    /// a text without it. It is asked on a thread of its own, and may block.
    pub fn asking(
        user: impl Into<String>,
        password: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self::with(user.into(), Password::Asked(Arc::new(password)))
    }

    fn with(user: String, password: Password) -> Self {
        Self { user, password, aside: Aside::default() }
    }

    /// The login that a lock URL names, if it names one. Reads no file: that is read at every
    /// login, since whoever rotates the password replaces the file. Whoever opens a lock asks for
    /// [`password`](Self::password) once, so that a file that is not there shows then.
    ///
    /// # Errors
    /// `Invalid`: the parts do not fit together. Nothing of them is repeated.
    pub fn of_url(parts: LoginParts<'_>) -> Result<Option<Self>, Failure> {
        let user = match (parts.user_before_host, parts.user) {
            (Some(_), Some(_)) => {
                return Err(invalid("the user is named twice: before the '@' and by user="));
            }
            (user, None) | (None, user) => user,
        };
        let in_url = parts.password_before_host.filter(|password| !password.is_empty());
        let passwords = [
            in_url.map(|password| Ok(Password::Given(password.to_owned()))),
            parts.password_env.map(|name| environment(name).map(Password::Given)),
            parts.password_file.map(|file| Ok(Password::File(file.into()))),
        ];
        let mut passwords = passwords.into_iter().flatten();
        Ok(Some(match (user.or(parts.default_user), passwords.next(), passwords.next()) {
            (_, _, Some(_)) => return Err(invalid("the password is given twice")),
            (None, Some(_), None) => {
                let failure = invalid("there is a password and no user");
                return Err(failure.with_cure("add user=NAME"));
            }
            (_, None, None) if user.is_none() => return Ok(None),
            (_, None, None) => {
                let failure = invalid("there is a user and no password");
                return Err(failure.with_cure("add password_file=PATH or password_env=NAME"));
            }
            (Some(user), Some(password), None) => Self::with(user.to_owned(), password?),
        }))
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password as it is now. To be asked for at every login.
    ///
    /// # Errors
    /// `Invalid`: there is none. `Unavailable`: it could not be had in time.
    pub async fn password(&self) -> Result<String, Failure> {
        match self.password.clone() {
            Password::Given(password) => Ok(password),
            Password::File(file) => {
                // The path itself may be the password, put there by mistake.
                let read = self.aside.read("the file that password_file names", &file).await?;
                let text = String::from_utf8(read)
                    .map_err(|_error| invalid("the file that password_file names is not UTF-8"))?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            Password::Asked(ask) => self
                .aside
                .run("asking for the password", move || ask())
                .await?
                .map_err(Failure::invalid),
        }
    }
}

fn environment(name: &str) -> Result<String, Failure> {
    // The name itself may be the password, put there by mistake.
    env::var(name).map_err(|_error| {
        invalid("password_env names a variable that is not there, or is not UTF-8")
    })
}

fn invalid(text: &str) -> Failure {
    Failure::invalid(text)
}

#[cfg(test)]
mod tests {
    use leasehold_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_password_is_read_at_every_login_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "s3cret\r\n").unwrap();
        let parts = LoginParts {
            user: Some("me"),
            password_file: Some(file.to_str().unwrap()),
            ..LoginParts::default()
        };
        let login = Login::of_url(parts).unwrap().unwrap();
        assert_eq!((login.user(), login.password().await.unwrap().as_str()), ("me", "s3cret"));
        std::fs::write(&file, "an0ther").unwrap();
        assert_eq!(login.password().await.unwrap(), "an0ther");
        assert!(!format!("{login:?}").contains("me"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(login.password().await.unwrap_err().kind, ErrorKind::Invalid);
        let asked = Login::asking("me", || Err("the vault is closed".to_owned()));
        assert_eq!(asked.password().await.unwrap_err().text, "the vault is closed");
    }

    #[tokio::test]
    async fn what_does_not_fit_together_is_named_without_a_secret() {
        let none = LoginParts::default();
        assert!(Login::of_url(none).unwrap().is_none());
        let default_user = LoginParts { default_user: Some("default"), ..none };
        assert!(Login::of_url(default_user).unwrap().is_none(), "nobody logs in");
        let alone = LoginParts { password_before_host: Some("s3cret"), ..default_user };
        assert_eq!(Login::of_url(alone).unwrap().unwrap().user(), "default");
        let named = LoginParts { user_before_host: Some("u"), ..none };
        for (parts, says) in [
            (LoginParts { user: Some("v"), ..named }, "named twice"),
            (named, "no password"),
            (LoginParts { password_before_host: Some(""), ..named }, "no password"),
            (LoginParts { password_before_host: Some("s3cret"), ..none }, "no user"),
            (LoginParts { password_env: Some("s3cret"), ..named }, "not there"),
            (
                LoginParts {
                    password_before_host: Some("s3cret"),
                    password_file: Some("/dev/null"),
                    ..named
                },
                "given twice",
            ),
        ] {
            let error = Login::of_url(parts).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
        let missing = LoginParts { password_file: Some("s3cret"), ..named };
        let missing = Login::of_url(missing).unwrap().unwrap();
        let error = missing.password().await.unwrap_err().to_string();
        assert!(error.contains("cannot read the file") && !error.contains("s3cret"), "{error}");
    }
}
