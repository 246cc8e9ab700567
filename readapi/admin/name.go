package admin

import (
	"context"
	"errors"
	"strings"
	"sync"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"

	"golang.org/x/sync/errgroup"
)

// names finds out what ids are called, from the log: users who were deleted and
// keys that were revoked have a name there too.
type names struct {
	log    Log
	caller domain.Actor
	mu     sync.Mutex
	known  map[string]label
}

// label is what is known of somebody or something; nothing when both are nil.
type label struct{ name, kind *string }

// maxNames bounds what a long export remembers.
const maxNames = 5000

func newNames(log Log, caller domain.Actor) *names {
	return &names{log: log, caller: caller, known: map[string]label{}}
}

// fill names who acted, with which key and in which organization.
func (n *names) fill(ctx context.Context, changes []Change) error {
	wanted := map[string]bool{}
	for _, c := range changes {
		wanted[directory.UserStream(c.Actor.ID)] = true
		wanted[directory.OrganizationStream(c.Organization.ID)] = true
		if c.APIKey != nil {
			wanted[directory.APIKeyStream(c.APIKey.ID)] = true
		}
	}
	if err := n.load(ctx, wanted); err != nil {
		return err
	}
	for i := range changes {
		c := &changes[i]
		who := n.known[directory.UserStream(c.Actor.ID)]
		c.Actor.Kind, c.Actor.Name = who.kind, who.name
		c.Organization.Name = n.known[directory.OrganizationStream(c.Organization.ID)].name
		if c.APIKey != nil {
			c.APIKey.Name = n.known[directory.APIKeyStream(c.APIKey.ID)].name
		}
	}
	return nil
}

func (n *names) load(ctx context.Context, streams map[string]bool) error {
	if len(n.known) > maxNames {
		clear(n.known)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for stream := range streams {
		if _, found := n.get(stream); found {
			continue
		}
		group.Go(func() error {
			l, err := n.look(ctx, stream)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.known[stream] = l
			return err
		})
	}
	return group.Wait()
}

func (n *names) get(stream string) (label, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, found := n.known[stream]
	return l, found
}

// look reads a name. One that cannot be read is not known; it is no reason to
// show nothing.
func (n *names) look(ctx context.Context, stream string) (label, error) {
	if stream == directory.UserStream(domain.SystemID) {
		return label{name: text("Docket"), kind: text("system")}, nil
	}
	s, err := n.log.State(ctx, stream, Until{})
	if fault.Is(err, fault.NotFound) {
		// A request without a user's token is the doing of an access key.
		if _, id, _ := strings.Cut(stream, "-"); !strings.HasPrefix(stream, "organization-") {
			stream = "accesskey-" + id
			s, err = n.log.State(ctx, stream, Until{})
		}
	}
	if err != nil {
		if f := new(fault.Error); ctx.Err() != nil || errors.As(err, &f) && f.Kind == fault.Unavailable {
			return label{}, err
		}
		return label{}, nil
	}
	return n.labelOf(stream, s)
}

// labelOf is what the caller may know: nothing of foreign organizations but the
// kind, and no personal data without the permission for it.
func (n *names) labelOf(stream string, s State) (label, error) {
	state, err := flat(s.State, true)
	if err != nil {
		return label{}, err
	}
	var l label
	if n.caller.SeesAny(s.Organizations) {
		l.name = nameOf(state)
	}
	if strings.HasPrefix(stream, "user-") {
		if kind, ok := state["Kind"].(string); ok {
			l.kind = &kind
		}
		if l.name != nil && !n.caller.May("users.view") {
			l.name = text(hidden)
		}
	}
	if strings.HasPrefix(stream, "accesskey-") {
		l.kind = text("accessKey")
	}
	return l, nil
}

// nameOf is what a state is called: as a person, or by the first that it has of
// the members that hold names.
func nameOf(state map[string]any) *string {
	at := func(member string) string { s, _ := state[member].(string); return s }
	first, last := at("FirstName"), at("LastName")
	if first == last && (first == hidden || first == domain.Erased) {
		return &first
	}
	for _, name := range []string{directory.FullName(first, last), at("Name"), at("DisplayName"), at("UserName"), at("Email"), at("Title"), at("Settings.name")} {
		if name != "" {
			return &name
		}
	}
	return nil
}

func text(s string) *string { return &s }
