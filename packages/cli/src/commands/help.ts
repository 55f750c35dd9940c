import { readFileSync } from "node:fs"
import { nearest } from "@tintype/protocol"
import type { Terminal } from "../terminal.ts"
import { exitCodes, UsageError } from "../terminal.ts"

const overview = `Tintype: the generative-media inference platform that you run yourself.

  tintype serve                          start the server on http://127.0.0.1:3250
  tintype run ENDPOINT key=value …       make one request, save what comes out
  tintype exec -- COMMAND                run a program written for the hosted service against Tintype
  tintype env                            the same for the official Python client, by variables
  tintype models                         list what the server can run
  tintype types                          their inputs and outputs as TypeScript, for @tintype/client
  tintype requests list|show             what became of requests, attempt by attempt
  tintype keys create|list|revoke        who may call the server
  tintype runner --app MODULE            host apps for a server on another machine
  tintype webhooks list|show|resend      what receivers were told, and when
  tintype help COMMAND                   more about one of them
  tintype --version

For example:
  tintype run tintype/miniature prompt="a red fish in the sea"
`

const pages: Record<string, string> = {
  serve: `tintype serve: start the server, with a local runner and the built-in apps.

  --port N                  default 3250; 0 picks a free one and prints it
  --tls-port N|off          default port + 1; where programs of tintype exec come in
  --host ADDRESS            default 127.0.0.1; any other needs a key: tintype help keys
  --data FOLDER             default .tintype; :memory: keeps nothing
  --log text|json           json: one object a line, nothing else
  --public-url URL          the base of the URLs in answers
  --trust-proxy CIDR,…      proxies whose X-Forwarded-* headers count
  --allowed-origins URL,…   web pages beside those of this machine that may call
  --apps MODULE,…           apps of your own: files or packages, made with defineApp
  --pace N                  how much the painter dawdles: 1, or 0 for not at all
  --runner-slots N          attempts at a time; default one a core
  --allow-private-targets true|false
                            may private addresses be fetched? default: only on loopback

Each is also a variable (--public-url is TINTYPE_PUBLIC_URL) and a key of tintype.config.ts
(publicUrl), which holds engines, limits and timing too. A flag wins over a variable, a variable over
the file.
TINTYPE_KEY=id:secret makes calls need that key. Ctrl-C lets what runs finish, twice ends it at once.
`,
  run: `tintype run ENDPOINT key=value …: make one request, save what comes out.

  key=value       numbers, true, false and null are what they look like; {…} and […] are JSON;
                  @FILE is the file itself (as a data URI); everything else is text
  key:=JSON       JSON, whatever it looks like: seed:='"42"' is a text
  --input FILE    the whole input as JSON, - for the standard input; key=value adds to it
  --out DIR       where outputs go; default this folder
  --url URL       the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --quiet         print the saved paths only
  --json          print one JSON object: request_id, files, result

Paths, or a result without files, go to the standard output; everything else to standard error.
When no server runs on this machine, a temporary one serves this one command.
TINTYPE_KEY=id:secret is sent when set.
Exit code: 0 succeeded, 1 failed, 2 wrong usage, 130 interrupted (the request is cancelled).

For example:
  tintype run fal-ai/flux/dev prompt="a lighthouse at dusk" image_size=landscape_16_9 seed=42
  tintype run fal-ai/flux/dev/image-to-image image_url=@photo.png prompt="in winter"
`,
  exec: `tintype exec [--serve] [--allow HOST] [--isolate] -- COMMAND: run a program written for the hosted service against Tintype.

  --serve         start a server for this command alone, on free ports, with its data in memory
  --allow HOST    may be called as well: example.com, *.example.com, an address; may be given again
  --isolate       Linux: leave the program no other network, for those that know of no proxy
  --url URL       the server; default TINTYPE_URL, then http://127.0.0.1:3250

The program gets a proxy, the server's certificate among those that it trusts, and another FAL_KEY: the key in TINTYPE_KEY,
or one that is worth nothing. Calls of the service's hosts come to Tintype; loopback is called as ever; any other
host is refused, and named with the process that asked.
Exit code: the program's, 128 + n after signal n, 127 and 126 when it cannot be run; 97 a host was refused, 1 there is no
server, 2 wrong usage. Which runtimes need --isolate: docs/reference/exec.md

For example:
  tintype exec -- node app.js
  tintype exec --serve --allow registry.npmjs.org -- npm test
`,
  env: `tintype env: variables by which the official Python client calls the server, for run and queue.

  --shell SHELL   sh (default), fish, powershell or dotenv
  --bundle FILE   where the trusted certificates go; default ca-bundle.pem in the data folder
  --data FOLDER   default TINTYPE_DATA, then .tintype
  --url URL       the server; default TINTYPE_URL, then http://127.0.0.1:3250

The hosts of files, tokens and realtime are fixed in that client, and all of them in others: for those, tintype exec.

For example:
  eval "$(tintype env)"
  tintype env --shell fish | source
  tintype env --shell powershell | Out-String | Invoke-Expression
  tintype env --shell dotenv > .env
`,
  models: `tintype models: list what the server can run, with category and title.

  --url URL       the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --json          as JSON
`,
  types: `tintype types: what the server's endpoints take and give, for the compiler.

  --endpoint ID   only this endpoint; may be given again
  --url URL       the server; default TINTYPE_URL, then http://127.0.0.1:3250

Prints TypeScript declarations. A program that has them knows every endpoint of @tintype/client:
  tintype types > tintype.d.ts
`,
  requests: `tintype requests: what became of requests, and when.

  tintype requests list           the newest first: state, age, how long it took, attempts
  tintype requests show ID        its life, one line a thing: queued, every attempt with its runner and
                                  why it ended, the outcome, its webhook

  --state STATE     list: only those queued, running, succeeded, failed or cancelled
  --endpoint ID     list: only those of this endpoint, as it was called
  --app ID          list: only those of this app, owner/alias
  --limit N         list: at most so many, default 50
  --cursor CURSOR   list: those after a list that said so
  --data FOLDER     the server's data folder, whose secret stands for the account local on the same
                    machine; default TINTYPE_DATA, then .tintype
  --url URL         the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --json            as JSON

Times are UTC. With a key in TINTYPE_KEY these are the requests of its account, whatever its scope. Inputs, outputs,
headers and credentials are not shown.
`,
  keys: `tintype keys: who may call the server. Without a key only programs on its own machine may.

  tintype keys create --scope SCOPE --name TEXT
                    makes a key and prints it once, as id:secret
  tintype keys list [--json]
  tintype keys revoke ID
                    ends a key within a second, and every call that it holds open

  --scope SCOPE     api: calls models and reads its account's requests; admin: that, and administers all
                    accounts; runner: links runners, nothing else
  --account NAME    whose key it is; made when there is none; default local, which has all of open mode
  --apps ID,…       of a runner key: the apps that it may host, owner/alias or owner/*
  --concurrency-max N
                    its requests that run at a time
  --requests-per-second-max N
  --body-bytes-max N
  --data FOLDER     the server's data folder, whose secret administers on the same machine;
                    default TINTYPE_DATA, then .tintype
  --url URL         the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --json            as JSON

From another machine an admin key in TINTYPE_KEY administers. When no server runs on this machine, the data folder
is opened for this one command.
`,
  runner: `tintype runner: host apps for a server, which may run on another machine.

  --app MODULE      an app made with defineApp: a file or a package; may be given again. The server must have it in
                    the setting apps of its tintype.config.ts, and the key must be for it: tintype help keys
  --url URL         the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --key ID:SECRET   a key of the scope runner or admin; default TINTYPE_KEY, which no process list shows
  --slots N         attempts at a time; default one a core
  --allow-private-targets true|false
                    may private addresses be fetched? default: only beside a server on this machine

A server that is away is dialled again for as long as it takes, and what runs goes on meanwhile. A key or an app that the
server refuses at the first dial ends the command. Ctrl-C lets what runs finish, twice ends it at once.
Exit code: 0 ended as told, 1 refused, 2 wrong usage, 130 ended at once.

For example:
  tintype keys create --scope runner --apps acme/* --name gpu-1      (on the server's machine)
  TINTYPE_KEY=… tintype runner --url https://tintype.example.com --app ./painter.ts --slots 2
`,
  webhooks: `tintype webhooks: what became of the webhooks that requests asked for.

  tintype webhooks list           the newest first
  tintype webhooks show ID        the delivery of a request, every try of it
  tintype webhooks resend ID      once more, at once, with all its retries

  --state STATE     list: only those that are pending, delivered, failed or exhausted
  --limit N         list: at most so many, default 50
  --data FOLDER     the server's data folder, whose secret stands for the account local on the same
                    machine; default TINTYPE_DATA, then .tintype
  --url URL         the server; default TINTYPE_URL, then http://127.0.0.1:3250
  --json            as JSON

With a key in TINTYPE_KEY these are the webhooks of its account, whatever its scope; what receivers answered is shown to
admin keys. Queries and credentials of the receivers' URLs are not shown.
`,
  help: `tintype help COMMAND: more about one of them.
`,
}

/** `tintype help [COMMAND]` */
export function printHelp(argv: string[], terminal: Terminal): number {
  const [name] = argv
  if (name === undefined) {
    terminal.out.write(overview)
    return exitCodes.succeeded
  }
  if (!Object.hasOwn(pages, name)) {
    const near = nearest(name, Object.keys(pages))
    const hint = near === null ? "see `tintype help`" : `did you mean \`tintype help ${near}\`?`
    throw new UsageError(`Unknown command ${name}; ${hint}`)
  }
  terminal.out.write(pages[name]!)
  return exitCodes.succeeded
}

/** `tintype --version` */
export function printVersion(terminal: Terminal): number {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  const version = /"version":\s*"([^"]*)"/.exec(manifest)?.[1]
  terminal.out.write(`tintype ${version}\n`)
  return exitCodes.succeeded
}
