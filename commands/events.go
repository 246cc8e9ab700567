package commands

import "docket/domain"

// ClaimTaken starts or renews the ownership of a unique value. It stands in the
// claim's own stream.
type ClaimTaken struct {
	Kind  string `json:"kind"`
	Scope string `json:"scope,omitempty"`
	Owner string `json:"owner"` // stream of the owning aggregate
}

// ClaimReleased ends the ownership.
type ClaimReleased struct {
	Owner string `json:"owner"`
}

// ClaimVoided stands in the stream of an aggregate that had claimed a value and
// not recorded it. It moves the stream's revision on, so that the claimant, if
// it is only slow, fails and decides again.
type ClaimVoided struct {
	Claim string `json:"claim"` // the claim's stream
}

// NumbersReserved records that numbers up to and including UpTo are handed out.
type NumbersReserved struct {
	UpTo int32 `json:"upTo"`
}

func (ClaimTaken) EventType() string      { return "kernel.claim-taken" }
func (ClaimReleased) EventType() string   { return "kernel.claim-released" }
func (ClaimVoided) EventType() string     { return "kernel.claim-voided" }
func (NumbersReserved) EventType() string { return "kernel.numbers-reserved" }

// Events are the kernel's own event types.
func Events() []domain.Event {
	return []domain.Event{ClaimTaken{}, ClaimReleased{}, ClaimVoided{}, NumbersReserved{}}
}
