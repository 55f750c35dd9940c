/** How the load speaks to a server; plain data, as it is sent to the load's process. */
export interface Target {
  port: number
  /** Path of the POST that submits. */
  submit: string
  /** The answer to a submit has the id between this text and the next quote. */
  idAfter: string
  /** What is around an id in the path of the GET that waits for the result. */
  result: { before: string; after: string }
  /** Header lines of that GET beside Host, each with its line end. */
  resultHeaders: string
}

export function formatPost(port: number, path: string, body: string): string {
  const length = `content-type: application/json\r\ncontent-length: ${body.length}\r\n`
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${length}\r\n${body}`
}

export function formatGet(port: number, path: string, headers = ""): string {
  return `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${headers}\r\n`
}

/** The id in the answer to a submit. */
export function findId(answer: string, { idAfter }: Target): string {
  const start = answer.indexOf(idAfter) + idAfter.length
  const end = answer.indexOf('"', start)
  if (start < idAfter.length || end === -1) throw new Error(`no id in ${answer.slice(0, 200)}`)
  return answer.slice(start, end)
}
