import type { ConfigReader, FinalSigma } from "./scheduler-config.ts"

/** `table` at a place that may lie between two of its entries. */
export function interpolate(table: Float64Array, at: number): number {
  const low = Math.min(Math.max(Math.floor(at), 0), table.length - 1)
  const high = Math.min(low + 1, table.length - 1)
  const from = table[low] ?? 0
  return from + ((table[high] ?? 0) - from) * (at - low)
}

/** Sigmas that lie closer together towards the clean end (Karras and others 2022, equation 5). */
export function karrasSigmas(max: number, min: number, steps: number): number[] {
  const rho = 7
  const from = max ** (1 / rho)
  const to = min ** (1 / rho)
  return Array.from({ length: steps }, (_, at) => {
    const way = steps === 1 ? 0 : at / (steps - 1)
    return (from + way * (to - from)) ** rho
  })
}

/** Where in `sigmas`, which rise, the sigma lies by its logarithm: the timestep to tell the denoiser. */
export function timestepOf(sigma: number, sigmas: Float64Array): number {
  let low = 0
  while (low < sigmas.length - 2 && (sigmas[low + 1] ?? 0) <= sigma) low++
  const from = Math.log(sigmas[low] ?? 0)
  const to = Math.log(sigmas[low + 1] ?? sigmas[low] ?? 0)
  const way = (from - Math.log(Math.max(sigma, 1e-10))) / (from - to)
  return low + Math.min(Math.max(way, 0), 1)
}

/** What is left when the last step is made. */
export function readFinalSigma(config: ConfigReader, sigmas: Float64Array): number {
  const kinds: readonly FinalSigma[] = ["zero", "sigma_min"]
  return config.choice("final_sigmas_type", kinds, "zero") === "zero" ? 0 : (sigmas[0] ?? 0)
}
