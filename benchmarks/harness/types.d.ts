import type { Options } from './options.mjs'
import type { Peer } from './peer.mjs'

/** What one measurement found, by name: see `figures.mjs` for what each is. */
export type Figures = Record<string, number>

/** What a measurement may know of the run that it is part of. */
export interface Context {
  options: Options
  /** From 0. */
  round: number
  /** Starts a peer that is stopped, whatever happens, when the measurement is over. */
  start(peer: Peer): Promise<import('./peer-process.mjs').PeerProcess>
  /** A folder for this measurement alone, removed with it. */
  folder: string
}

/** One line of a table: something that is measured once a round. */
export interface Subject {
  /** Unique within its group, and the same in every version: it names the line in the JSON. */
  name: string
  label: string
  measure(context: Context): Promise<Figures>
}

export interface Column {
  figure: string
  title: string
  unit: string
  digits: number
}

/** A column of ratios: each round's figure by the same round's figure of another line. */
export interface Ratio {
  figure: string
  title: string
}

/** A limit that a line is to keep, from the project's aims. */
export interface Target {
  says: string
  subject: string
  figure: string
  /** The line it is compared with; without one, the figure itself is. */
  against?: string
  /** How the two are compared. */
  by?: 'ratio' | 'difference'
  atMost?: number
  atLeast?: number
}

/** What is measured in turn, and printed as one table. */
export interface Group {
  name: string
  title: string
  subjects: Subject[]
  columns: Column[]
  /** The line that ratios refer to. */
  base: string
  ratios: Ratio[]
  targets: Target[]
  /** The figure of which a picture is drawn. */
  chart?: { figure: string; title: string; file: string }
}

export interface Case {
  name: string
  title: string
  groups(options: Options): Group[]
}
