package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"github.com/google/uuid"
)

// A claim is a stream of its own per unique value, taken before the aggregate's
// append and released after one that gives the value up. The two appends are
// not atomic. What may go wrong in between, and why it does no harm:
//
//   - The claimant dies after taking: the claim's owner does not hold the value.
//     The next one who wants it sees that, voids the claimant and takes over.
//   - The claimant is only slow: voiding moved its stream's revision, so its
//     append fails and it decides again, now without the claim.
//   - The owner dies before releasing: as if it had died after taking.
//   - A slow release meets the owner taking the value back: the release expects
//     the claim's revision from before the owner's append, and taking back
//     moves that revision.
//   - A command takes a value and then does not need it, while another of the
//     same aggregate takes it too and records it: taking always moves the
//     claim's revision, and a command gives back only at the revision of its own
//     taking, and only what did not belong to its aggregate already. So the
//     claim it gives back is one that nobody else of its aggregate counts on.

// claimState is what a claim stream says.
type claimState struct {
	stream   string
	owner    string // "" when free
	revision eventstore.Revision
}

func (b *Bus) claimStream(k domain.Key) string {
	scope := k.Scope
	if scope == "" {
		scope = "all"
	}
	return fmt.Sprintf("claim-%s-%s-%s", k.Kind, scope, b.digest("claim", k.Kind+"\x00"+k.Scope+"\x00"+k.Value))
}

func (b *Bus) loadClaim(ctx context.Context, stream string) (claimState, error) {
	c := claimState{stream: stream, revision: eventstore.NoStream}
	for r, err := range b.store.Load(ctx, stream, 0) {
		if err != nil {
			return c, err
		}
		e, _, err := b.codec.DecodeRecorded(r)
		if err != nil {
			return c, err
		}
		c.revision = r.Revision
		switch e := e.(type) {
		case ClaimTaken:
			c.owner = e.Owner
		case ClaimReleased:
			c.owner = ""
		}
	}
	return c, nil
}

// claimPatience is how often a claim whose owner does not hold the value (yet)
// is looked at again before it counts as dead. Correctness does not hang on it.
const claimPatience = 5

// claimRounds bounds how often a lost race for a claim is run again.
const claimRounds = 20

// take claims k for owner, or fails with fault.Unique.
func (b *Bus) take(ctx context.Context, s *sending, k domain.Key) error {
	stream := b.claimStream(k)
	claim := claimState{revision: eventstore.NoStream} // most values are new: try that first
	if at, again := s.taken[k]; again {
		claim = claimState{owner: s.stream, revision: at}
	}
	patience := claimPatience
	for range claimRounds {
		if claim.owner != "" && claim.owner != s.stream {
			held, ownerRevision, err := b.ownerHolds(ctx, claim.owner, k)
			if err != nil {
				return err
			}
			if held {
				return taken(k)
			}
			if patience > 0 {
				patience--
				if err := pause(ctx, time.Millisecond<<(claimPatience-patience)); err != nil {
					return err
				}
				if claim, err = b.loadClaim(ctx, stream); err != nil {
					return err
				}
				continue
			}
			b.reach("claim: before void")
			if err := b.void(ctx, s, claim.owner, ownerRevision, stream); err != nil {
				if isWrongRevision(err) { // the owner moved: look again
					continue
				}
				return err
			}
			b.reach("claim: voided")
		}
		event := ClaimTaken{Kind: k.Kind, Scope: k.Scope, Owner: s.stream}
		err := b.appendKernel(ctx, s, stream, claim.revision, event)
		if err == nil {
			s.took(k, claim)
			return nil
		}
		if !isWrongRevision(err) {
			return err
		}
		if claim, err = b.loadClaim(ctx, stream); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, "claim.contended", "too many writers want the same %s at once; try again", label(k.Kind))
}

// ownerHolds tells whether the aggregate behind a stream holds a key, and the
// revision at which that was seen.
func (b *Bus) ownerHolds(ctx context.Context, owner string, k domain.Key) (bool, eventstore.Revision, error) {
	fold, known := b.folders[category(owner)]
	if !known {
		return false, 0, fmt.Errorf("claim is owned by %s, a stream of no known aggregate", owner)
	}
	keys, revision, err := fold(ctx, b, owner)
	return slices.Contains(keys, k), revision, err
}

// void makes a pending append of a claimant fail.
func (b *Bus) void(ctx context.Context, s *sending, owner string, at eventstore.Revision, claim string) error {
	return b.appendKernel(ctx, s, owner, at, ClaimVoided{Claim: claim})
}

// took notes a claim as one to give back, unless it was the aggregate's before
// by another command's doing.
func (s *sending) took(k domain.Key, before claimState) {
	if at, again := s.taken[k]; before.owner == s.stream && (!again || at != before.revision) {
		delete(s.taken, k)
		return
	}
	if s.taken == nil {
		s.taken = make(map[domain.Key]eventstore.Revision)
	}
	s.taken[k] = before.revision + 1
}

// giveBack releases claims taken for an append that did not happen.
func (b *Bus) giveBack(ctx context.Context, s *sending) {
	for k, at := range s.taken {
		b.release(ctx, s, b.claimStream(k), at)
	}
}

// claimsHeld are the claims of keys that this aggregate owns.
func (b *Bus) claimsHeld(ctx context.Context, s *sending, keys []domain.Key) ([]claimState, error) {
	var held []claimState
	for _, k := range keys {
		claim, err := b.loadClaim(ctx, b.claimStream(k))
		if err != nil {
			return nil, err
		}
		if claim.owner == s.stream {
			held = append(held, claim)
		}
	}
	return held, nil
}

// releasePatience bounds a release, which goes on when the caller has left.
const releasePatience = 2 * time.Second

// release gives a claim up that stood at a known revision. It is best effort:
// a claim left behind is taken over by whoever wants it.
func (b *Bus) release(ctx context.Context, s *sending, stream string, at eventstore.Revision) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	err := b.appendKernel(ctx, s, stream, at, ClaimReleased{Owner: s.stream})
	if err != nil && !isWrongRevision(err) {
		b.log.WarnContext(ctx, "claim not released; the next claimant will take it over", "claim", stream, "error", err)
	}
}

// appendKernel appends one event of the kernel's own to some stream. Its id is
// random: with one derived from the command, taking a claim a second time in
// one command could look like a repeat of the first.
func (b *Bus) appendKernel(ctx context.Context, s *sending, stream string, expect eventstore.Revision, e domain.Event) error {
	data, err := b.codec.Encode(e)
	if err != nil {
		return err
	}
	meta, err := s.metadata(b.codec.Schema(e.EventType()), 0, 1)
	if err != nil {
		return err
	}
	_, err = b.store.Append(ctx, stream, expect, []eventstore.Proposed{{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: meta}})
	return err
}

func taken(k domain.Key) error {
	return &fault.Error{
		Kind: fault.Unique, Code: k.Kind + ".taken", Public: "this " + label(k.Kind) + " is already taken",
		Fields: []fault.Field{{Path: fieldOf(k.Kind), Message: "is already taken"}},
	}
}

func isWrongRevision(err error) bool {
	var wrong *eventstore.WrongRevision
	return errors.As(err, &wrong)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
