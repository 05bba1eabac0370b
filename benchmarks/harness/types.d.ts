import type { Options } from './options.mjs'
import type { PeerProcess } from './peer-process.mjs'
import type { Peer } from './peers.mjs'

/** The values of one measurement by metric name; `metrics.mjs` defines the common ones. */
export type Metrics = Record<string, number>

/** The arguments of a measurement. */
export interface Context {
  options: Options
  /** Counts from 0. */
  round: number
  /** Starts a peer. The peer is stopped when the measurement ends or fails. */
  start(peer: Peer): Promise<PeerProcess>
  /** A folder for this measurement, removed after the measurement. */
  folder: string
}

/** One row of a table: something that is measured once in each round. */
export interface Subject {
  /** Unique within the group, and stable across versions: names the row in the JSON. */
  name: string
  label: string
  measure(context: Context): Promise<Metrics>
}

export interface Column {
  metric: string
  title: string
  unit: string
  digits: number
}

/** A column of ratios to the group's baseline, each taken within one round. */
export interface Ratio {
  metric: string
  title: string
}

/** A limit for one metric of one subject. */
export interface Target {
  description: string
  subject: string
  metric: string
  /** The subject to compare with. Without one, the limit applies to the metric itself. */
  baseline?: string
  comparison?: 'ratio' | 'difference'
  atMost?: number
  atLeast?: number
}

/** Subjects that are measured in turn and shown in one table. */
export interface Group {
  name: string
  title: string
  subjects: Subject[]
  columns: Column[]
  /** The subject that the ratio columns compare with. */
  baseline: string
  ratios: Ratio[]
  targets: Target[]
  /** The metric to draw as a bar chart. */
  chart?: { metric: string; title: string; file: string }
}

export interface Case {
  name: string
  title: string
  groups(options: Options): Group[]
}
