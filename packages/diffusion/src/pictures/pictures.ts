/** The package's second door, for who works with callers' pictures and needs no model: it loads sharp, the first one does not. */
export { encodeRaster, type EncodedPicture, type Encoding, toDataUri } from "./encoding.ts"
export { type GivenPicture, loadMask, loadSource, type Raster, sizeOfSource } from "./source.ts"
