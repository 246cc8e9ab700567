// Package admin is the reading half of Docket's own administration API: events,
// states and projections. It also holds what both halves share.
package admin

import (
	"context"

	"docket/domain"
	"docket/internal/httpx"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is what the reads need.
type Config struct {
	API         *httpx.API
	Pool        *pgxpool.Pool // of the read models
	Log         Log
	Projections Projections
	Reactors    Reactors
	Jobs        Jobs
}

type reads struct{ Config }

// Describe fills in what makes a dialect this one. Authentication, permissions
// and middleware are the caller's.
func Describe(d httpx.Dialect) httpx.Dialect {
	d.Name, d.Title, d.Version = "admin", "Docket administration API", "v1"
	d.Description = "Publish projects, look into the event log and past states, tend the read models."
	d.Base, d.Prefix = "/admin/v1", "/admin"
	return d
}

// Register adds all GET operations to an API.
func Register(c Config) {
	r := &reads{c}
	registerEvents(r)
	registerStreams(r)
	registerAudit(r)
	registerProjections(r)
	registerReactors(r)
	registerJobs(r)
	registerAccounts(r)
	registerAccessKeys(r)
	registerDevices(r)
	registerSyncRuns(r)
}

// Pages of lists.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Page is a part of a list. Next is null on the last one.
type Page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next" doc:"Send it as after to read on; null at the end."`
}

func actorOf(ctx context.Context) domain.Actor {
	a, _ := domain.ActorOf(ctx) // without one: nothing is visible
	return a
}
