// What the generated types say about an operation, in the form the client needs.
import type { paths } from "./schema.js";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** Path is every path that takes a method. */
export type Path<M extends Method> = {
  [P in keyof paths]: paths[P] extends { [K in M]: { responses: unknown } } ? P : never;
}[keyof paths];

type Operation<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: infer O } ? O : never;

/** PathParameters are the values for the braces of a path; never when it has none. */
export type PathParameters<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { parameters: { path: infer V } } ? V : never;

type Declared<O> = O extends { parameters: { query?: infer Q } } ? NonNullable<Q> : never;

/** Query is the query parameters of an operation, filters on attributes included. */
export type Query<P extends keyof paths, M extends Method> = Declared<Operation<P, M>> & {
  [filter: `attr.${string}`]: string | number | boolean | undefined;
};

type Json<C> = C extends { "application/json": infer B } ? B : C extends { "application/cloudevents-batch+json": infer B } ? B : never;

/** Body is what an operation takes; never when it takes nothing. */
export type Body<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { requestBody: { content: infer C } } ? Json<C> : never;

type Success<R> = R extends { 200: { content: infer C } } ? Json<C> : R extends { 201: { content: infer C } } ? Json<C> : never;

/** Result is what an operation answers on success. */
export type Result<P extends keyof paths, M extends Method> = Operation<P, M> extends { responses: infer R } ? Success<R> : never;
