package printing

import (
	"time"

	"docket/domain"
)

// QueueType tells what a queue does with a document. The values are those of
// SAFEQ's porttype of input ports.
type QueueType int

const (
	Pull QueueType = 0 // keeps it until it is released at a printer
	Push QueueType = 1 // sends it to its printer at once
)

// AvailableByDefault is the bit of InputPortSettings.Flags that shows a queue to
// every user.
const AvailableByDefault int64 = 1

// InputPortSettings is everything about a queue but its name.
type InputPortSettings struct {
	Type         QueueType  `json:"type"`
	OutputPortID *domain.ID `json:"outputPortId,omitempty"` // of a push queue
	Flags        int64      `json:"flags"`
	LocationID   int32      `json:"locationId,omitempty"` // number of a location, 0 for none
}

// InputPortCreated adds a queue.
type InputPortCreated struct {
	ID             domain.ID         `json:"id"`
	Number         int32             `json:"number"`
	OrganizationID domain.ID         `json:"organizationId"`
	Name           string            `json:"name"`
	Settings       InputPortSettings `json:"settings"`
	CreatedAt      time.Time         `json:"createdAt"`
}

// InputPortChanged replaces what is known of a queue.
type InputPortChanged struct {
	ID       domain.ID         `json:"id"`
	Name     string            `json:"name"`
	Settings InputPortSettings `json:"settings"`
	At       time.Time         `json:"at"`
}

// InputPortDeleted ends a queue. Documents that wait in it stay.
type InputPortDeleted struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

func (InputPortCreated) EventType() string { return "printing.inputport-created" }
func (InputPortChanged) EventType() string { return "printing.inputport-changed" }
func (InputPortDeleted) EventType() string { return "printing.inputport-deleted" }

// InputPort is a queue as it is.
type InputPort struct {
	ID             domain.ID
	Number         int32
	OrganizationID domain.ID
	Name           string
	Settings       InputPortSettings
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (p InputPort) Apply(e domain.Event) InputPort {
	switch e := e.(type) {
	case InputPortCreated:
		return InputPort{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, Name: e.Name, Settings: e.Settings,
			CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case InputPortChanged:
		p.Name, p.Settings, p.ModifiedAt = e.Name, e.Settings, e.At
	case InputPortDeleted:
		p.Live = false
	}
	return p
}

// Exists implements domain.State.
func (p InputPort) Exists() bool { return p.Live }

// Organizations implements domain.State.
func (p InputPort) Organizations() []domain.ID { return []domain.ID{p.OrganizationID} }

// Keys implements domain.State.
func (p InputPort) Keys() []domain.Key {
	if !p.Live {
		return nil
	}
	return []domain.Key{{Kind: "inputport-name", Scope: p.OrganizationID.String(), Value: domain.Normal(p.Name)}}
}
