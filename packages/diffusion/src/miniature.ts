import { fileURLToPath } from "node:url"

/** The folder of the model that comes with this package. */
export const miniatureFolder: string = fileURLToPath(new URL("../miniature", import.meta.url))
