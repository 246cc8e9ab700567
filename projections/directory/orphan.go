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

// OrphanedAccessRow is an access key or device of the SAFEQ API that no event has
// ended although its organization was deleted. A reactor ends it, which removes
// the row.
type OrphanedAccessRow struct {
	ID             domain.ID `db:"id,pk"`
	Kind           string    `db:"kind"` // AccessKeyOrphan or DeviceOrphan
	OrganizationID domain.ID `db:"organization_id"`
	Late           bool      `db:"late"` // recorded after the end of the organization
}

// Kinds of OrphanedAccessRow.
const (
	AccessKeyOrphan = "accesskey"
	DeviceOrphan    = "device"
)

// OrphanedAccess is the work list of who ends access keys and devices.
var OrphanedAccess = projections.NewTable[OrphanedAccessRow]("orphaned_access",
	projections.Index("organization_id", "kind", "id"), projections.IndexWhere("late", "kind", "id"))

// accessOrphanHandlers must come before those that remove the rows they look at.
func accessOrphanHandlers() []projections.Part {
	late := func(rec projections.Rec, id domain.ID, kind string, organization domain.ID) []OrphanedAccessRow {
		if _, there := projections.Get(rec, Organizations, organization); there {
			return nil
		}
		return []OrphanedAccessRow{{ID: id, Kind: kind, OrganizationID: organization, Late: true}}
	}
	return []projections.Part{
		projections.PutEach(OrphanedAccess, func(e directory.OrganizationDeleted, rec projections.Rec) []OrphanedAccessRow {
			var rows []OrphanedAccessRow
			for _, k := range projections.Where(rec, AccessKeys, "organization_id", e.ID) {
				rows = append(rows, OrphanedAccessRow{ID: k.ID, Kind: AccessKeyOrphan, OrganizationID: e.ID})
			}
			for _, d := range projections.Where(rec, Devices, "organization_id", e.ID) {
				rows = append(rows, OrphanedAccessRow{ID: d.ID, Kind: DeviceOrphan, OrganizationID: e.ID})
			}
			return rows
		}),
		projections.PutEach(OrphanedAccess, func(e directory.AccessKeyCreated, rec projections.Rec) []OrphanedAccessRow {
			return late(rec, e.ID, AccessKeyOrphan, e.OrganizationID)
		}, projections.Prefetch(Organizations, func(e directory.AccessKeyCreated, _ projections.Rec) []domain.ID {
			return []domain.ID{e.OrganizationID}
		})),
		projections.PutEach(OrphanedAccess, func(e directory.DeviceRegistered, rec projections.Rec) []OrphanedAccessRow {
			return late(rec, e.ID, DeviceOrphan, e.OrganizationID)
		}, projections.Prefetch(Organizations, func(e directory.DeviceRegistered, _ projections.Rec) []domain.ID {
			return []domain.ID{e.OrganizationID}
		})),
		projections.Delete(OrphanedAccess, func(e directory.AccessKeyDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.Delete(OrphanedAccess, func(e directory.DeviceRemoved, _ projections.Rec) domain.ID { return e.ID }),
	}
}
