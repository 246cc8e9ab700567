package qalyptus

import (
	"docket/domain"

	"github.com/google/uuid"
)

// entity is how bodies name another thing: by id; the name is for people.
type entity struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name,omitempty"`
}

func idsOf(entities []entity) []domain.ID {
	if entities == nil {
		return nil
	}
	list := make([]domain.ID, len(entities))
	for i, e := range entities {
		list[i] = e.ID
	}
	return list
}
