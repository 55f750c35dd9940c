/** What leads a program that was written for the hosted service elsewhere. */
export interface ProgramDoors {
  proxyUrl: string
  /** The file of `trustBundle`. */
  bundlePath: string
  /** FAL_KEY. */
  key: string
  /** Of the server, for programs that know Tintype. */
  url: string
}

type Environment = Record<string, string | undefined>

/** Other ways to say where the service is or who calls; they would win over ours, or leak. */
const removed = [
  "FAL_KEY_ID",
  "FAL_KEY_SECRET",
  "FAL_API_KEY",
  "FAL_HOST",
  "FAL_RUN_HOST",
  "FAL_QUEUE_RUN_HOST",
  "FAL_REST_HOST",
  "FAL_GRPC_HOST",
  "FAL_CDN_V3_HOST",
]

/**
 * The environment of a program whose calls go through the proxy. Its FAL_KEY is always another than ours, so that no call that
 * finds a way past the proxy can spend anything.
 */
export function programEnvironment(
  inherited: Environment,
  { proxyUrl, bundlePath, key, url }: ProgramDoors,
): Environment {
  const environment = { ...inherited }
  for (const name of removed) delete environment[name]
  for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]) {
    environment[name] = proxyUrl
    environment[name.toLowerCase()] = proxyUrl
  }
  // `::1` stays out: some versions of httpx take it for a host with a port and fail. The proxy lets it through.
  environment["NO_PROXY"] = environment["no_proxy"] = "localhost,127.0.0.1"
  environment["NODE_USE_ENV_PROXY"] = "1"
  for (const name of bundleVariables) environment[name] = bundlePath
  environment["FAL_KEY"] = key
  if (inherited["FAL_API_KEY"] !== undefined) environment["FAL_API_KEY"] = key
  environment["TINTYPE_URL"] = url
  return environment
}

/** By which each runtime is told whom to trust: OpenSSL (Python, Ruby, Go), requests, curl, Node and Bun, Deno. */
export const bundleVariables = [
  "SSL_CERT_FILE",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "NODE_EXTRA_CA_CERTS",
  "DENO_CERT",
]
