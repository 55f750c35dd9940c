import { createClient } from "@tintype/client"
import { WebSocket } from "ws"
import { goThroughEveryDoor } from "./every-door.mjs"

/** To be run by another Node: calls the server at `TINTYPE_URL` and prints what came of it. */

const client = createClient({ url: process.env.TINTYPE_URL, webSocket: WebSocket })
const told = await goThroughEveryDoor(client)
process.stdout.write(JSON.stringify(told), () => process.exit(0))
