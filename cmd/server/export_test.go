package server

import "docket/eventstore"

// EventStore is the log behind a server, for tests that put into it what no
// command does.
func (s *Server) EventStore() eventstore.Store { return s.stores.log }
