/** What a registry knows. */
import type { Milliseconds } from './options.js'

/** One running instance of a service. */
export interface Node {
  id: string
  address: string
  metadata?: Readonly<Record<string, string>>
}

/** What callers may know of an endpoint. */
export interface Endpoint {
  name: string
  request?: unknown
  response?: unknown
  metadata?: Readonly<Record<string, string>>
}

/** One version of a service. */
export interface ServiceRecord {
  name: string
  version?: string
  nodes?: readonly Node[]
  endpoints?: readonly Endpoint[]
  metadata?: Readonly<Record<string, string>>
}

/** A change of a service, and the record after it. */
export interface Change {
  action: 'create' | 'update' | 'delete'
  service: ServiceRecord
}

/** Whether a node wants calls. */
export interface Health {
  node: string
  address: string
  version: string
  serving: boolean
  /** Why it could not be asked. */
  detail?: string | null
}

/** A node as a client sees it. */
export interface KnownNode {
  node: string
  address: string
  version: string
  /** Calls of this client that are under way. */
  inFlight: number
  /** Of late, in milliseconds; `undefined` before the first answer. */
  latency: number | undefined
  /** Whether calls avoid it for now, because others failed. */
  ejected: boolean
}

/** A record as registries write it: what is empty may be nothing. */
interface RecordJson {
  name: string
  version?: string | null
  nodes?: readonly (Node & { metadata?: Readonly<Record<string, string>> | null })[] | null
  endpoints?: readonly (Endpoint & { metadata?: Readonly<Record<string, string>> | null })[] | null
  metadata?: Readonly<Record<string, string>> | null
}

/** @internal A record of the registry's JSON. */
export function record({ name, version, nodes, endpoints, metadata }: RecordJson): Required<ServiceRecord> {
  return {
    name,
    version: version ?? '',
    nodes: (nodes ?? []).map((node) => ({ ...node, metadata: node.metadata ?? {} })),
    endpoints: (endpoints ?? []).map((one) => ({ ...one, metadata: one.metadata ?? {} })),
    metadata: metadata ?? {},
  }
}

/** @internal Records of a lookup. */
export function records(text: string): ServiceRecord[] {
  return (JSON.parse(text) as RecordJson[]).map(record)
}

/** @internal A change of a watch. */
export function change(text: string): Change {
  const { action, service } = JSON.parse(text) as { action: Change['action']; service: RecordJson }
  return { action, service: record(service) }
}

interface NodeJson {
  node: string
  address: string
  version: string
  in_flight: number
  latency_ms: number | null
  ejected: boolean
}

/** @internal */
export function knownNodes(text: string): KnownNode[] {
  return (JSON.parse(text) as NodeJson[]).map(({ in_flight, latency_ms, ...rest }) => ({
    ...rest,
    inFlight: in_flight,
    latency: latency_ms ?? undefined,
  }))
}

/** @internal A time to live as the core reads it. */
export function period(ttl: Milliseconds | undefined): string | undefined {
  return typeof ttl === 'number' ? `${ttl}ms` : ttl
}
