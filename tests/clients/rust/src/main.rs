//! Uses the client that openapi-generator makes for Rust. The store has `hello` and `user/1` to `user/5`.

use std::error::Error;

use client::apis::configuration::Configuration;
use client::apis::read_api::{GetEntryError, export, get_entries, get_entry};
use client::models::GetEntries200Response::{Entries, Page};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let base_path = std::env::args().nth(1).ok_or("usage: user URL")?;
    let server = Configuration { base_path, ..Configuration::default() };

    let entry = get_entry(&server, "hello", None, None).await?;
    assert_eq!((entry.key.as_str(), entry.value.as_str()), ("hello", "world"));
    let Err(client::apis::Error::ResponseError(missing)) = get_entry(&server, "nope", None, None).await else {
        panic!("there is no such key");
    };
    assert_eq!(missing.status, 404);
    assert!(matches!(missing.entity, Some(GetEntryError::Status404(_))));

    let keys = vec!["hello".into(), "nope".into(), "user/1".into()];
    let Entries(entries) = get_entries(&server, Some(keys), None, None, None, None).await? else {
        panic!("a request for keys has one reply for all");
    };
    assert_eq!(entries.missing, ["nope"]);
    assert!(entries.items.iter().all(|item| item.rev > i64::from(u32::MAX)));

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = get_entries(&server, None, Some("user/"), Some(2), after.as_deref(), None).await?;
        let Page(page) = page else { panic!("a request for a list is answered with a page") };
        found.extend(page.items.into_iter().map(|item| item.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["user/1", "user/2", "user/3", "user/4", "user/5"]);

    let lines = export(&server, Some("user/")).await?.text().await?;
    assert_eq!(lines.lines().count(), 5);
    Ok(())
}
