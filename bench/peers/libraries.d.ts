/**
 * As much of the peers' libraries as the bench calls. They are installed by the first `npm run bench` and not by the
 * product, whose type check covers the bench all the same.
 */

declare module "fastify" {
  interface Reply {
    code(status: number): Reply
    send(body: unknown): Reply
  }
  interface Shell {
    post(
      path: string,
      options: { schema: object },
      answer: (request: { body: unknown }) => Promise<unknown>,
    ): void
    get(
      path: string,
      answer: (request: { params: unknown }, reply: Reply) => Promise<unknown>,
    ): void
    listen(at: { host: string; port: number }): Promise<string>
  }
  export default function fastify(): Shell
}

declare module "bullmq" {
  interface Options {
    connection: { host: string; port: number; maxRetriesPerRequest: null }
  }
  export class Queue {
    constructor(name: string, options: Options)
    add(name: string, data: unknown): Promise<{ id?: string }>
  }
  export class QueueEvents {
    constructor(name: string, options: Options)
    waitUntilReady(): Promise<unknown>
    setMaxListeners(count: number): this
  }
  export class Job {
    static fromId(queue: Queue, id: string): Promise<Job | undefined>
    waitUntilFinished(events: QueueEvents): Promise<unknown>
  }
  export class Worker {
    constructor(
      name: string,
      work: (job: { data: unknown }) => Promise<unknown>,
      options: Options & { concurrency: number },
    )
    waitUntilReady(): Promise<unknown>
  }
}

declare module "pg" {
  interface Rows<Row> {
    rows: Row[]
  }
  export interface Notification {
    payload?: string
  }
  export class Client {
    constructor(options: { connectionString: string })
    connect(): Promise<void>
    query<Row>(text: string, values?: unknown[]): Promise<Rows<Row>>
    on(event: "notification", listener: (notification: Notification) => void): void
  }
  export class Pool {
    constructor(options: { connectionString: string; max: number })
    query<Row>(statement: { name: string; text: string; values: unknown[] }): Promise<Rows<Row>>
  }
}

declare module "graphile-worker" {
  interface TaskHelpers {
    job: { id: string }
  }
  interface RunnerOptions {
    preset: { worker: Record<string, unknown> }
    noHandleSignals: boolean
    taskList: Record<string, (payload: unknown, helpers: TaskHelpers) => Promise<void>>
  }
  export function run(options: RunnerOptions): Promise<unknown>
  export function makeWorkerUtils(options: { connectionString: string }): Promise<{
    migrate(): Promise<void>
    addJob(task: string, payload: unknown): Promise<{ id: string }>
  }>
}

declare module "pg-boss" {
  interface BossJob {
    id: string
    data: unknown
  }
  interface WorkOptions {
    batchSize: number
    localConcurrency: number
    pollingIntervalSeconds: number
    burstWhenBatchFull: boolean
  }
  export class PgBoss {
    constructor(options: { connectionString: string; useListenNotify?: boolean })
    on(event: "error", listener: (error: Error) => void): void
    start(): Promise<unknown>
    createQueue(name: string, options: { notify: boolean }): Promise<void>
    send(name: string, data: unknown): Promise<string | null>
    work(
      name: string,
      options: WorkOptions,
      handle: (jobs: BossJob[]) => Promise<unknown>,
    ): Promise<string>
  }
}
