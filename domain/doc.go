// Package domain holds what every aggregate shares: events, states, unique
// keys, identities. It is pure: no I/O, no clock, only the standard library
// and uuid. Aggregates live in the packages below it.
package domain
