//! A table of another program, in the database of a system or in a file.

use std::path::PathBuf;
use std::process::Output;

use e2e::{EngineKind, Role, System};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::super::keywire;

/// Rows that only a byte for byte comparison keeps apart, and rows that text formats like to spoil.
pub(super) const ODD: [(&str, &str); 12] = [
    ("A", "upper"),
    ("a", "lower"),
    ("a ", "trailing blank "),
    ("\u{e4}", "\u{e4}\u{301}"),
    ("emoji \u{1f600}", "\u{1f468}\u{200d}\u{1f469}"),
    ("a/b?c=d&e#f%41+", "slash"),
    ("quotes \"'`\\", "\"'`\\"),
    ("line\nend\r\u{1}\u{7f}", "\u{0}\t\n"),
    ("\u{feff}", "\u{2028}"),
    ("empty", ""),
    ("..", "dots"),
    ("1", "true"),
];

/// A database of another program.
pub(super) struct Source<'s> {
    system: &'s System,
    /// The file of `SQLite`. A table on a server is in the schema of the system.
    file: PathBuf,
}

impl<'s> Source<'s> {
    pub(super) fn new(system: &'s System) -> Self {
        Self { system, file: system.database.folder().join("db.sqlite3") }
    }

    /// A database with the table that the migration of key-value-django makes (`manage.py sqlmigrate storage 0001`). On a server it
    /// compares byte for byte.
    async fn django(system: &'s System) -> Self {
        let collation = match system.database.engine {
            EngineKind::Sqlite => "",
            EngineKind::MariaDb => "default charset utf8mb4 collate utf8mb4_nopad_bin",
            EngineKind::MySql => "default charset utf8mb4 collate utf8mb4_0900_bin",
        };
        Self::django_with(system, collation).await
    }

    pub(super) async fn django_with(system: &'s System, collation: &str) -> Self {
        let source = Self::new(system);
        let columns = "`key` varchar(100) NOT NULL PRIMARY KEY, `value` varchar(100) NOT NULL";
        source.execute(&format!("CREATE TABLE `storage_keyvaluepair` ({columns}) {collation}")).await;
        source
    }

    /// The table of [`Source::django`] with the rows [`ODD`].
    pub(super) async fn odd(system: &'s System) -> Self {
        let source = Self::django(system).await;
        source.insert(&ODD).await;
        source
    }

    pub(super) async fn execute(&self, statement: &str) {
        if self.system.database.engine != EngineKind::Sqlite {
            return self.system.database.execute(statement).await;
        }
        let options = SqliteConnectOptions::new().filename(&self.file).create_if_missing(true);
        let mut connection = options.connect().await.expect("a file can be made");
        connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("valid SQL");
    }

    pub(super) async fn insert(&self, rows: &[(&str, &str)]) {
        for (key, value) in rows {
            let (key, value) = (self.literal(key), self.literal(value));
            self.execute(&format!("insert into storage_keyvaluepair values ({key}, {value})")).await;
        }
    }

    /// `text` in SQL.
    fn literal(&self, text: &str) -> String {
        let hex = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        match self.system.database.engine {
            EngineKind::Sqlite => format!("cast(x'{hex}' as text)"),
            EngineKind::MariaDb | EngineKind::MySql => format!("convert(x'{hex}' using utf8mb4)"),
        }
    }

    /// Runs `keywire import` from here.
    pub(super) fn import(&self, options: &[&str]) -> Output {
        let mut args = vec!["import".to_owned()];
        if self.system.database.engine == EngineKind::Sqlite {
            args.extend(["--from".into(), format!("sqlite://{}", self.file.display())]);
        } else {
            let login = self.system.database.env(Role::Migration);
            let flags = ["--from", "--from-password-file"].into_iter().map(str::to_owned);
            args.extend(flags.zip(login).flat_map(|(flag, (_, value))| [flag, value]));
        }
        args.extend(options.iter().map(|&option| option.to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        keywire(self.system, &args)
    }
}
