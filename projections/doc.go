// Package projections keeps Postgres tables in step with the event store. It
// follows the log, folds batches of events into rows in memory, and commits rows
// and checkpoint in one transaction; it rebuilds tables beside the live ones,
// verifies them, and lets writers wait until reads see their events.
//
// # Declaring a projection
//
// A table is a row struct whose tags give columns and key; options give indexes
// and counters. Handlers say what an event does to rows. Tables and handlers of
// related resources form a group:
//
//	type GroupRow struct {
//		ID             uuid.UUID `db:"id,pk"`
//		OrganizationID uuid.UUID `db:"organization_id"`
//		Name           string    `db:"name"`
//		NameF          string    `db:"name_f,fold"` // filled by the engine from name
//		Revision       int64     `db:"revision"`
//		CreatedAt      time.Time `db:"created_at"`
//	}
//
//	var Groups = projections.NewTable[GroupRow]("groups",
//		projections.Index("name_f", "id"),
//		projections.Trigram("name_f"),
//		projections.CountBy("organization_id"))
//
//	var groups = projections.Parts{
//		Groups,
//		projections.Put(Groups, func(e directory.GroupCreated, rec projections.Rec) GroupRow {
//			return GroupRow{ID: rec.StreamID(), OrganizationID: e.OrganizationID, Name: e.Name,
//				Revision: int64(rec.Revision), CreatedAt: rec.Created}
//		}),
//		projections.Update(Groups, projections.ByStream[directory.GroupRenamed],
//			func(row *GroupRow, e directory.GroupRenamed, rec projections.Rec) {
//				row.Name, row.Revision = e.Name, int64(rec.Revision)
//			}),
//		projections.Delete(Groups, projections.ByStream[directory.GroupDeleted]),
//		projections.DeleteWhere(Members, "group_id",
//			func(e directory.GroupDeleted, rec projections.Rec) uuid.UUID { return rec.StreamID() }),
//		projections.Ignore(directory.GroupNoteAdded{}),
//	}
//
//	var Directory = projections.NewGroup("directory",
//		eventstore.Filter{TypePrefixes: []string{"directory."}},
//		projections.Revision(1), groups, users)
//
// Rules for authors:
//
//   - Handlers of one event run in declared order; a table may have one handler of
//     each kind per event type.
//   - A handler depends on nothing but its arguments and on what Get and Where
//     tell (rows of the same group as they stand at this event). It may run more
//     than once for an event. It never fails: a recorded fact is not rejected. A
//     panic stops the group at that event.
//   - Update, Delete and the like on a row that is not there do nothing.
//   - A column that copies a joined name is filled with Get at creation and kept up
//     with SetWhere. Announce the rows read by Get with Prefetch.
//   - Raise Revision when a handler's behaviour changes. Changed tables, indexes and
//     event types are noticed without it. The group is then rebuilt at start, while
//     reads go on from the old tables.
//   - An indexed text over 2,600 bytes stops the group, so commands bound what is
//     indexed as it is. Columns tagged fold are cut to that length.
//
// # Reading
//
// Tables lie in the schema rm_<group>: [Table.Name] is "rm_directory.groups".
// Columns ending in _f compare in "C" collation; look for FoldText of what the
// client gave. Counts lie in rm_<group>.counters(table_name, key, n), where n is
// exact at the checkpoint; no row means zero:
//
//	table_name  key                                  n
//	groups                                           all rows (key is the empty string)
//	groups      organization_id=<uuid>               from CountBy("organization_id")
//	groups      organization_id=<uuid>&status=<text> from CountBy("organization_id", "status")
//
// Values are as Postgres casts them to text, null is nothing after the equals sign.
package projections
