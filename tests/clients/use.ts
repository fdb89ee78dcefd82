// Uses the client that openapi-generator makes for TypeScript. The store has `hello` and `user/1` to `user/5`.

import { Configuration, type Entries, type Page, ReadApi, ResponseError } from './client';

declare const process: { argv: string[] };

function check(holds: boolean, what: unknown): asserts holds {
    if (!holds) throw new Error(JSON.stringify(what));
}

async function main(): Promise<void> {
    const server = new ReadApi(new Configuration({ basePath: process.argv[2] }));

    const entry = await server.getEntry({ key: 'hello' });
    check(entry.key === 'hello' && entry.value === 'world', entry);
    const missing = await server.getEntry({ key: 'nope' }).catch((error: unknown) => error);
    check(missing instanceof ResponseError && missing.response.status === 404, missing);

    const entries = (await server.getEntries({ key: ['hello', 'nope', 'user/1'] })) as Entries;
    check(entries.missing.join() === 'nope', entries);
    check(entries.items.every((item) => item.rev > 2 ** 32), entries);

    const found: string[] = [];
    let after: string | undefined;
    do {
        const page = (await server.getEntries({ prefix: 'user/', limit: 2, after })) as Page;
        found.push(...page.items.map((item) => item.key));
        after = page.next ?? undefined;
    } while (after !== undefined);
    check(found.join() === 'user/1,user/2,user/3,user/4,user/5', found);

    const lines = await (await server._export({ prefix: 'user/' })).text();
    check(lines.trimEnd().split('\n').length === 5, lines);
}

// An error ends the process with exit code 1.
void main();
