"""Uses the client that openapi-python-client makes. The store has `hello` and `user/1` to `user/5`."""

import sys

from client import Client
from client.api.read import export, get_entries, get_entry
from client.models import Entries, Entry, Missing, Page

server = Client(base_url=sys.argv[1])

entry = get_entry.sync(client=server, key="hello")
assert isinstance(entry, Entry) and (entry.key, entry.value) == ("hello", "world"), entry
missing = get_entry.sync(client=server, key="nope")
assert isinstance(missing, Missing) and missing.status == 404, missing

entries = get_entries.sync(client=server, key=["hello", "nope", "user/1"])
assert isinstance(entries, Entries) and entries.missing == ["nope"], entries
assert all(item.rev > 2**32 for item in entries.items), entries

found, after = [], {}
while after is not None:
    page = get_entries.sync(client=server, prefix="user/", limit=2, **after)
    assert isinstance(page, Page), page
    found += [item.key for item in page.items]
    after = page.next_ and {"after": page.next_}
assert found == [f"user/{number}" for number in range(1, 6)], found

lines = export.sync_detailed(client=server, prefix="user/").content.splitlines()
assert len(lines) == 5, lines
