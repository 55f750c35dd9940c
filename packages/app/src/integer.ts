import { z } from "zod"

/**
 * An integer of any size: a number while it is exact, a bigint beyond ±2^53. For seeds, whose 64 bits must survive.
 *
 *     seed: integer().nullable().optional()
 */
export function integer(): z.ZodUnion<readonly [z.ZodInt, z.ZodBigInt]> {
  return z.union([z.int(), z.bigint()])
}
