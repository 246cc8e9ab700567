package server

import (
	"docket/eventstore"
	"docket/internal/postgres"
	"docket/projections"
)

// What tests of the whole look at from inside.

func (s *Server) Engine() *projections.Engine { return s.engine }
func (s *Server) Codec() *eventstore.Codec    { return s.codec }
func (s *Server) Pools() *postgres.Pools      { return s.pools }
