package commands

import (
	"context"
	"fmt"

	"docket/domain"
	"docket/domain/fault"
)

// SendAll runs several commands of one kind and waits for their read models
// once. It decides all of them before it sends the first, so that a list with a
// mistake in it changes nothing. The commands are then sent one by one: what
// changed since, or a store that goes down half way, can still leave the list
// half done, and sending the request again with its Idempotency-Key finishes it.
func SendAll[S domain.State[S]](ctx context.Context, b *Bus, cmds ...Command[S]) (current bool, err error) {
	seen := make(map[string]bool, len(cmds))
	for i, cmd := range cmds {
		if seen[cmd.Stream()] {
			return false, fault.InvalidField(element(i), "is named twice")
		}
		seen[cmd.Stream()] = true
		if err := Check(ctx, b, cmd); err != nil {
			return false, at(i, err)
		}
	}
	return Together(ctx, b, func(ctx context.Context) error {
		for i, cmd := range cmds {
			if _, err := Send(ctx, b, cmd); err != nil {
				return at(i, err)
			}
		}
		return nil
	})
}

// Check tells whether a command would be refused as things stand, and appends
// nothing. A request that ran before is not checked: part of it may be done.
func Check[S domain.State[S]](ctx context.Context, b *Bus, cmd Command[S]) error {
	request := RequestOf(ctx)
	if request == nil {
		return errNoRequest
	}
	if request.Retry {
		return nil
	}
	actor, err := admit(ctx, cmd.Permission())
	if err != nil {
		return err
	}
	// Fresh: unlike in Send, nothing that follows would notice what is stale.
	l := loader{ctx: ctx, bus: b, fresh: true}
	f, err := loadDelta[S](l, cmd.Stream())
	if err != nil {
		return unavailable(err)
	}
	env, err := Gather(cmd, f.state, Env{Now: request.Now, Actor: actor}, func(r Ref) (any, error) { return r.load(l) })
	if err != nil {
		return unavailable(err)
	}
	_, err = decide(cmd, f.state, env)
	return err
}

// element names a member of a list that is the whole body.
func element(i int) string { return fmt.Sprintf("[%d]", i) }

// at says which command of a list a fault is about.
func at(i int, err error) error {
	f := fault.Of(err)
	if len(f.Fields) > 0 || f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return err
	}
	named := *f
	named.Fields = []fault.Field{{Path: element(i), Message: f.Public}}
	return &named
}
