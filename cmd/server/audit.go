package server

import (
	"context"

	"docket/commands"
	"docket/eventstore"
	"docket/readapi/admin"
)

// Kinds implements admin.Log.
func (i *inspector) Kinds() []string { return i.bus.Kinds() }

// History implements admin.Log.
func (i *inspector) History(ctx context.Context, stream string, first []int64, mask string, each func(admin.Step) error) error {
	revisions := make([]eventstore.Revision, len(first))
	for n, r := range first {
		revisions[n] = eventstore.Revision(r)
	}
	return i.bus.History(ctx, stream, revisions, mask, func(s commands.Step) error { return each(stepOf(s)) })
}

func stepOf(s commands.Step) admin.Step {
	out := admin.Step{Events: make([]admin.StepEvent, len(s.Events)), Before: admin.Image(s.Before), After: admin.Image(s.After)}
	for n, e := range s.Events {
		out.Events[n] = admin.StepEvent{ID: e.ID, Type: e.Type, Revision: int64(e.Revision)}
	}
	if s.Problem != nil {
		out.Problem = s.Problem.Error()
	}
	return out
}
