package directory

import (
	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// OrphanedKeyRow is an API key that no event has ended although its user or
// organization was deleted. A reactor revokes it, which removes the row.
type OrphanedKeyRow struct {
	KeyID          domain.ID `db:"key_id,pk"`
	UserID         domain.ID `db:"user_id"`
	OrganizationID domain.ID `db:"organization_id"`
	Late           bool      `db:"late"` // recorded after the end of one of them
}

// OrphanedKeys is the work list of who revokes keys.
var OrphanedKeys = projections.NewTable[OrphanedKeyRow]("orphaned_keys",
	projections.Index("user_id", "key_id"), projections.Index("organization_id", "key_id"), projections.IndexWhere("late", "key_id"))

// orphanHandlers must come before those that remove the rows they look at.
func orphanHandlers() []projections.Part {
	return []projections.Part{
		projections.PutEach(OrphanedKeys, func(e directory.UserDeleted, rec projections.Rec) []OrphanedKeyRow {
			return keysWith(rec, "user_id", e.ID)
		}),
		projections.PutEach(OrphanedKeys, func(e directory.OrganizationDeleted, rec projections.Rec) []OrphanedKeyRow {
			return keysWith(rec, "organization_id", e.ID)
		}),
		projections.PutEach(OrphanedKeys, lateKey,
			projections.Prefetch(Users, func(e directory.APIKeyCreated, _ projections.Rec) []domain.ID { return []domain.ID{e.UserID} }),
			projections.Prefetch(Organizations, func(e directory.APIKeyCreated, _ projections.Rec) []domain.ID { return []domain.ID{e.OrganizationID} })),
		projections.Delete(OrphanedKeys, func(e directory.APIKeyRevoked, _ projections.Rec) domain.ID { return e.ID }),
	}
}

func keysWith(rec projections.Rec, column string, owner domain.ID) []OrphanedKeyRow {
	keys := projections.Where(rec, APIKeys, column, owner)
	rows := make([]OrphanedKeyRow, len(keys))
	for i, k := range keys {
		rows[i] = OrphanedKeyRow{KeyID: k.ID, UserID: k.UserID, OrganizationID: k.OrganizationID}
	}
	return rows
}

// lateKey is a key whose user or organization was deleted while it was being
// created.
func lateKey(e directory.APIKeyCreated, rec projections.Rec) []OrphanedKeyRow {
	_, user := projections.Get(rec, Users, e.UserID)
	_, organization := projections.Get(rec, Organizations, e.OrganizationID)
	if user && organization {
		return nil
	}
	return []OrphanedKeyRow{{KeyID: e.ID, UserID: e.UserID, OrganizationID: e.OrganizationID, Late: true}}
}
