package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// UserCardRow says that a card identifies a person.
type UserCardRow struct {
	UserID         domain.ID `db:"user_id,pk"`
	CardKey        string    `db:"card_key,pk"`     // directory.NormalCard of the card
	Card           string    `db:"card"`            // as it was given
	OrganizationID domain.ID `db:"organization_id"` // the person's home
	AddedAt        time.Time `db:"added_at"`
}

// cardKey is the key of a UserCardRow.
type cardKey struct {
	UserID  domain.ID
	CardKey string
}

// UserCards are the cards of all people.
var UserCards = projections.NewTable[UserCardRow]("user_cards", projections.Index("card_key", "user_id"))

func userDetailHandlers() []projections.Part {
	return []projections.Part{
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserDetailsChanged, _ projections.Rec) {
			u.Department, u.HomeFolder, u.Alias, u.ShortID, u.ExternalID = e.Department, e.HomeFolder, e.Alias, e.ShortID, e.ExternalID
			u.ExpiresAt, u.ModifiedAt = e.ExpiresAt, e.At
		}),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserPINChanged, _ projections.Rec) {
			u.HasPIN, u.ModifiedAt = e.PINHash != "", e.At
		}),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserCardAdded, _ projections.Rec) { u.ModifiedAt = e.At }),
		projections.Update(Users, projections.ByStream, func(u *UserRow, e directory.UserCardRemoved, _ projections.Rec) { u.ModifiedAt = e.At }),
		projections.PutEach(UserCards, newCard, projections.Prefetch(Users, func(e directory.UserCardAdded, _ projections.Rec) []domain.ID { return []domain.ID{e.ID} })),
		projections.DeleteEach(UserCards, func(e directory.UserCardRemoved, _ projections.Rec) []cardKey {
			return []cardKey{{e.ID, directory.NormalCard(e.Card)}}
		}),
		projections.SetWhere(UserCards, "user_id", func(e directory.UserOrganizationsChanged, _ projections.Rec) domain.ID { return e.ID },
			func(e directory.UserOrganizationsChanged, _ projections.Rec) map[string]any {
				return map[string]any{"organization_id": home(e.Organizations)}
			}),
		projections.DeleteWhere(UserCards, "user_id", func(e directory.UserDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}

// newCard leaves out the cards of people who are not there: no event says so of
// one who was erased, whose cards all read the same.
func newCard(e directory.UserCardAdded, rec projections.Rec) []UserCardRow {
	u, there := projections.Get(rec, Users, e.ID)
	if !there || e.Card == domain.Erased {
		return nil
	}
	return []UserCardRow{{UserID: e.ID, CardKey: directory.NormalCard(e.Card), Card: e.Card, OrganizationID: u.OrganizationID, AddedAt: e.At}}
}
