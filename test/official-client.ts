import { createFalClient, type FalClient } from "@fal-ai/client"

export interface CountedCall {
  method: string
  /** The URL that the client meant to call, behind the proxy route. */
  target: string
  status: number
}

/** The official client, unmodified, sent to a server of ours by the means that it documents; its HTTP calls are listed. */
export function officialClient(
  url: string,
  credentials: string | (() => string) = "test:test",
): { fal: FalClient; calls: CountedCall[] } {
  const calls: CountedCall[] = []
  const countingFetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init)
    const headers = new Headers(init?.headers)
    const target =
      headers.get("x-fal-target-url") ?? (input instanceof Request ? input.url : input.toString())
    calls.push({ method: init?.method ?? "GET", target, status: response.status })
    return response
  }
  const fal = createFalClient({
    proxyUrl: { url: `${url}/api/fal/proxy`, when: "always" },
    credentials,
    fetch: countingFetch,
    retry: { maxRetries: 0 },
  })
  return { fal, calls }
}
