/** The part of a connection that calls and requests speak to. */
import type { FrameConnection } from '@bmm/lib/frame-connection'

export type FrameLink = Pick<
  FrameConnection,
  'send' | 'sendControl' | 'sendParts' | 'sendResult' | 'end'
>
