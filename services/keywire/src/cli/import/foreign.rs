//! `keywire import --from`: the rows of another program's table, such as that of key-value-django.

mod comparison;
mod dumpdata;
mod reports;
mod rows;
mod source;
mod stored;

use std::path::PathBuf;

use chassis::config::path::{database_url, file_path};
use db::{ForeignNames, PrivateCopy};

use crate::cli::client::{Failure, TargetArgs};
use crate::cli::delivery::{Delivery, Unit};
use crate::cli::progress::{Progress, counted};

use reports::Reports;
use source::Source;

/// Options of an import from another program. Each excludes a file of lines by itself: for clap, `requires = "from"` is no demand where
/// `from` conflicts with what is given, and an import that writes after `--dry-run` is the worst answer.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ForeignArgs {
    /// Import a table of another program: `mysql://user@host:3306/schema`, `sqlite://path`, or a file that Django's `dumpdata` wrote
    /// (`-`: stdin)
    ///
    /// Without --table, it is the table of key-value-django. It is only read, at one instant.
    #[arg(long, value_name = "SOURCE", conflicts_with = "file", value_parser = database_url)]
    from: Option<String>,

    /// File that holds the password for the source
    #[arg(long, value_name = "FILE", requires = "from", conflicts_with = "file", value_parser = file_path())]
    from_password_file: Option<PathBuf>,

    /// Table, view or (in a `dumpdata` file) model to import
    #[arg(
        long,
        value_name = "NAME",
        requires = "from",
        conflicts_with = "file",
        default_value = "storage_keyvaluepair"
    )]
    table: String,

    /// Column with the keys
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with = "file", default_value = "key")]
    key_column: String,

    /// Column with the values
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with = "file", default_value = "value")]
    value_column: String,

    /// Leave keys as they are that the server has already
    #[arg(long, requires = "from", conflicts_with = "file")]
    if_absent: bool,

    /// Read the source and report what would be refused; needs no server
    #[arg(long, requires = "from", conflicts_with_all = ["file", "if_absent", "verify"])]
    dry_run: bool,

    /// Compare the source with the server instead: missing, different and extra keys; exit code 1 if there are any
    #[arg(long, requires = "from", conflicts_with_all = ["file", "if_absent"])]
    verify: bool,
}

impl ForeignArgs {
    /// The source, if the import is not one of lines.
    pub(super) fn source(&self) -> Result<Option<Source>, Failure> {
        let (table, key, value) = (self.table.clone(), self.key_column.clone(), self.value_column.clone());
        let names = ForeignNames { table, key, value };
        let password_file = self.from_password_file.as_deref();
        self.from.as_deref().map(|from| Source::new(from, password_file, names)).transpose()
    }
}

/// Writes every row, or compares it with the server, or only looks at it.
pub(super) async fn import(args: &ForeignArgs, source: Source, targets: &TargetArgs) -> Result<(), Failure> {
    let progress = Progress::new(None);
    let copy = source.copy(&progress).await?;
    if let Some(collation) = copy.folding() {
        progress.say(&format!(
            "keywire: warning: the source compares keys without case ({collation}), Keywire compares them byte for byte: \
             clients that write \"A\" and read \"a\" will get a 404"
        ));
    }
    progress.expect(copy.rows());
    if args.dry_run {
        return look(copy, &progress).await;
    }
    if args.verify {
        return comparison::compare(copy, targets.read_target(), &progress).await;
    }
    let target = targets.write_target();
    let mut delivery = Delivery::new(target, Unit::Row, rows::chunks(copy, args.if_absent), &progress);
    let done = delivery.run().await;
    delivery.report(done)
}

/// Reports the rows that could not be written. An error if there are any.
async fn look(mut copy: PrivateCopy, progress: &Progress) -> Result<(), Failure> {
    let (mut written, mut refused) = (0, Reports::new("refused"));
    loop {
        let rows = copy.next().await.map_err(source::failure)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            match row {
                Ok(_) => written += 1,
                Err(unfit) => refused.add(&unfit.to_string(), progress),
            }
        }
        progress.at_count(written + refused.count(), written + refused.count(), "row");
    }
    let mut summary = format!("{} would be written", counted(written, "row"));
    refused.append_to(&mut summary);
    reports::finish(&summary, &[&refused], progress)
}
