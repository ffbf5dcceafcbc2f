/**
 * Services that find each other by name and call each other.
 *
 * `Service` serves, `Client` calls, `errors` is what goes wrong; `@micro/core/testing` has both in one process, for your tests.
 */
export { type AskOptions, Client } from './client.js'
export { type AddedCodec, addCodec, type Codec, type Format, raw } from './codec.js'
export { Context, context } from './context.js'
export { Code, type Detail, type ErrorOptions, MicroError } from './errors.js'
export type { CloudEvent } from './event.js'
export { JobContext, type JobStatus, type Run } from './jobs.js'
export * as errors from './kinds.js'
export { type LogLevel, type LogRecord, receiveLogs, setLogLevel } from './logs.js'
export { type Delivered, Delivery, MessageContext } from './messages.js'
export { Metadata, type MetadataLike, type MetadataValue, pack } from './metadata.js'
export {
  Call,
  type ClientMiddleware,
  type MessageMiddleware,
  type Reply,
  type ServiceMiddleware,
  type Shape,
} from './middleware.js'
export { live, version } from './native.js'
export type { Setting } from './operator.js'
export type {
  CallOptions,
  ClientOptions,
  CronOptions,
  EndpointOptions,
  JobOptions,
  Milliseconds,
  PublishOptions,
  QueueOptions,
  ServiceOptions,
  Start,
  SubscriberOptions,
  TypedAnswer,
  TypedEndpoint,
  TypedOptions,
  TypedPublish,
  TypedQueue,
  TypedSubscriber,
  TypedTask,
} from './options.js'
export { Provided, provide, type Registry } from './provide.js'
export {
  type Ability,
  type Broker,
  type BrokerMessage,
  type BrokerSubscription,
  type Lent,
  provideBroker,
  type Verdict,
} from './provide-broker.js'
export type { Change, Endpoint, Health, KnownNode, Node, ServiceRecord } from './registry.js'
export { Runtime, type RuntimeOptions } from './runtime.js'
export { type Hook, Service } from './service.js'
export { ClientStream, Requests, Stream } from './streams.js'
export { Subscription } from './subscription.js'
export type { TaskState } from './tasks.js'
