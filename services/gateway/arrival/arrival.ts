/** What is known of a request when it arrives: its id, whose it is, and what its connection can do. */

/** What a WebSocket of ours does; nothing is ever read from one. */
export type SocketEvents = {
  open(socket: { send(text: string): void; close(code: number, reason: string): void }): void
  close(): void
}

export type Arrival = {
  /** Made here; never taken from outside. */
  requestId: string
  readonly clientIp: string
  /** The headers that every answer has; with those of one that nobody stores where a media type is given. */
  headers(mediaType?: string): Record<string, string>
  /** An answer of JSON with the headers of one that nobody stores. */
  json(text: string, status: number): Response
  /**
   * Lifts the idle limit of the connection, for answers that may be silent for long; returns the way to put it back,
   * which must be taken before the answer ends, or an idle connection would stay for ever.
   */
  stayOpen(): () => void
  /** Runs when the request has its answer, whatever became of it; for requests that a route answers. */
  onAnswered(act: () => void): void
  /** Turns the request into a WebSocket; false when it is none. */
  upgrade(events: SocketEvents): boolean
}

export type Arrivals = {
  set(request: Request, arrival: Arrival): void
  /** Throws for a request that did not come through a listener. */
  of(request: Request): Arrival
}

/** Arrivals live as long as their requests. */
export function openArrivals(): Arrivals {
  const arrivals = new WeakMap<Request, Arrival>()
  return {
    set: (request, arrival) => void arrivals.set(request, arrival),
    of(request) {
      const arrival = arrivals.get(request)
      if (arrival === undefined) throw new Error('the request did not come through a listener')
      return arrival
    },
  }
}

const MAX_USER_AGENT = 1_000

/** The browser or program, as it calls itself; cut to what a session keeps. */
export function userAgentOf(request: Request): string {
  return (request.headers.get('user-agent') ?? '').slice(0, MAX_USER_AGENT)
}
