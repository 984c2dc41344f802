export { Hub } from "./client.js";
export type { Answer, CloudEvent, FollowOptions, HubOptions, ReadOptions, WriteOptions } from "./client.js";
export { HubProblem } from "./problem.js";
export type { ProblemDocument } from "./problem.js";
export type { Body, Path, PathParameters, Query, Result } from "./operations.js";
export type { components, operations, paths } from "./schema.js";
