package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// OrganizationRow is an organization with its place in the tree.
type OrganizationRow struct {
	ID           domain.ID   `db:"id,pk"`
	Number       int32       `db:"number"`
	ParentID     *domain.ID  `db:"parent_id"`
	Path         []domain.ID `db:"path"` // from the root to the organization itself: whoever sees one of these sees it
	Name         string      `db:"name"`
	NameF        string      `db:"name_f,fold"`
	DisplayName  string      `db:"display_name"`
	DisplayNameF string      `db:"display_name_f,fold"`
	Description  string      `db:"description"`
	DescriptionF string      `db:"description_f,fold"`
	ThemeID      *domain.ID  `db:"theme_id"`
	IsSystem     bool        `db:"is_system"`
	Account                  // of the SAFEQ API
	CreatedAt    time.Time   `db:"created_at"`
	ModifiedAt   time.Time   `db:"modified_at"`
}

// Account are an organization's account settings with the defaults filled in.
type Account struct {
	AccountType     int32    `db:"account_type"` // directory.AccountType
	DomainNames     []string `db:"domain_names"`
	ApplicationName string   `db:"application_name"`
	TrustAllClients bool     `db:"trust_all_clients"`
	LocationID      int32    `db:"location_id"`
	AccessSeconds   int32    `db:"access_seconds"`
	RefreshDays     int32    `db:"refresh_days"`
	KeepHours       int32    `db:"keep_hours"`
	NameLogins      bool     `db:"name_logins"`
}

func accountOf(s directory.AccountSettings) Account {
	s = s.Defaulted()
	return Account{AccountType: int32(s.Type), DomainNames: s.DomainNames, ApplicationName: s.ApplicationName, TrustAllClients: s.TrustAllClients, LocationID: s.LocationID,
		AccessSeconds: s.AccessSeconds, RefreshDays: s.RefreshDays, KeepHours: s.KeepHours, NameLogins: s.NameLogins}
}

// AccountDomainRow says which account a domain name leads to.
type AccountDomainRow struct {
	DomainName     string    `db:"domain_name,pk"` // lower case
	OrganizationID domain.ID `db:"organization_id"`
}

// AccountDomains are the domain names of all accounts.
var AccountDomains = projections.NewTable[AccountDomainRow]("account_domains", projections.Index("organization_id"))

// Organizations are all organizations.
var Organizations = projections.NewTable[OrganizationRow]("organizations",
	projections.Index("name_f", "id"), projections.Index("display_name_f", "id"), projections.Index("description_f", "id"),
	projections.Index("parent_id", "id"), projections.Index("number"), projections.Trigram("name_f"), projections.Trigram("description_f"))

func organizationHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(Organizations, func(e directory.OrganizationCreated, _ projections.Rec) OrganizationRow {
			path := append(append([]domain.ID{}, e.Ancestors...), e.ID)
			return OrganizationRow{ID: e.ID, Number: e.Number, ParentID: e.ParentID, Path: path, Name: e.Name, DisplayName: e.DisplayName,
				Description: e.Description, ThemeID: e.ThemeID, IsSystem: e.ID == directory.GlobalID, Account: accountOf(directory.AccountSettings{}), CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
		}),
		projections.Update(Organizations, projections.ByStream, func(o *OrganizationRow, e directory.OrganizationChanged, _ projections.Rec) {
			o.Name, o.DisplayName, o.Description, o.ThemeID, o.ModifiedAt = e.Name, e.DisplayName, e.Description, e.ThemeID, e.ChangedAt
		}),
		projections.Update(Organizations, projections.ByStream, func(o *OrganizationRow, e directory.AccountChanged, _ projections.Rec) {
			o.Account, o.ModifiedAt = accountOf(e.Settings), e.At
		}),
		projections.DeleteWhere(AccountDomains, "organization_id", func(e directory.AccountChanged, _ projections.Rec) domain.ID { return e.ID }),
		projections.PutEach(AccountDomains, func(e directory.AccountChanged, _ projections.Rec) []AccountDomainRow {
			rows := make([]AccountDomainRow, len(e.Settings.DomainNames))
			for i, name := range e.Settings.DomainNames {
				rows[i] = AccountDomainRow{DomainName: domain.Normal(name), OrganizationID: e.ID}
			}
			return rows
		}),
		projections.DeleteWhere(AccountDomains, "organization_id", func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.DeleteWhere(AccessKeys, "organization_id", func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.DeleteWhere(Devices, "organization_id", func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.DeleteWhere(APIKeys, "organization_id", func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
		projections.Delete(Organizations, func(e directory.OrganizationDeleted, _ projections.Rec) domain.ID { return e.ID }),
	}
}
