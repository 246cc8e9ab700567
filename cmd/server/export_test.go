package server

import (
	"docket/eventstore"

	"github.com/jackc/pgx/v5/pgxpool"
)

// EventStore is the log behind a server, for tests that put into it what no
// command does.
func (s *Server) EventStore() eventstore.Store { return s.stores.log }

// Postgres is the database behind a server.
func (s *Server) Postgres() *pgxpool.Pool { return s.pools.Main }
