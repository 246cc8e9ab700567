package demo

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

var (
	companies   = []string{"Northwind Logistics", "Alpine Insurance", "Bluewater Energy", "Cedar Hospital Group", "Delta Retail", "Everest Foods", "Fjord Shipping", "Granite Construction", "Harbour Bank", "Indigo Telecom", "Juniper Pharma", "Kestrel Airlines", "Lumen Media", "Meridian Motors", "Nova Chemicals", "Orchard Hotels", "Pioneer Rail", "Quartz Mining", "Riverside Textiles", "Summit Consulting"}
	departments = []string{"Finance", "Sales", "Marketing", "Operations", "Human Resources", "Legal", "Purchasing", "Logistics", "Customer Service", "Quality", "Engineering", "Treasury", "Internal Audit", "Executive Board", "Controlling", "Facilities"}
	regions     = []string{"North", "South", "East", "West", "Central", "Nordics", "Iberia", "Benelux", "DACH", "Baltics", "Americas", "APAC"}
	firstNames  = []string{"Amelia", "Noah", "Léa", "Mateo", "Sofia", "Lukas", "Ingrid", "Omar", "Yuki", "Priya", "Chloé", "Henrik", "Zoë", "Tomás", "Aisha", "Björn", "Elena", "Kwame", "Mei", "Nikolai", "Fatima", "Jürgen", "Camille", "Diego", "Hannah", "Ravi", "Astrid", "Paolo", "Linh", "Samuel", "Ewa", "Karim", "Nadia", "Oscar", "Ruth", "Stefan", "Valérie", "Wei", "Xenia", "Zahra"}
	lastNames   = []string{"Martin", "García", "Müller", "Rossi", "Nguyen", "Larsen", "Okafor", "Tanaka", "Patel", "Dubois", "Kowalski", "Silva", "Haddad", "Johansson", "Novák", "Schmidt", "Fernández", "O'Brien", "Moreau", "Ivanova", "Weber", "Costa", "Andersen", "Yilmaz", "Lefèvre", "Horváth", "Kim", "Bianchi", "Jansen", "Papadopoulos", "Virtanen", "Keller", "Mensah", "Popescu", "Sato", "Lindqvist", "Fischer", "Marchand", "Álvarez", "Wójcik"}
	subjects    = []string{"Revenue", "Margin", "Budget", "Forecast", "Cash Flow", "Headcount", "Inventory", "Stock Ageing", "Order Backlog", "Delivery Times", "Complaints", "Energy Use", "Supplier Rating", "Churn", "Overdue Invoices", "Travel Costs", "Quality Defects", "Campaign Results"}
	rhythms     = []string{"Daily", "Weekly", "Monthly", "Quarterly", "Yearly"}
	reportTypes = []string{"Excel", "Excel", "Excel", "Word", "PowerPoint", "PowerPoint", "Html", "QlikEntity"}
	languages   = []string{"en", "en", "fr", "de", "es", "it"}
)

// random is what chance says about the nth thing of a kind: the same in every
// run, whatever the sizes.
func random(kind string, n int) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", kind, n) // a hash takes everything
	return rand.New(rand.NewPCG(h.Sum64(), uint64(n)))
}

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// numbered tells the second round through a list from the first.
func numbered(list []string, n int) string {
	if n < len(list) {
		return list[n]
	}
	return fmt.Sprintf("%s %d", list[n%len(list)], n/len(list)+1)
}

var plain = strings.NewReplacer("é", "e", "è", "e", "ö", "oe", "ü", "ue", "ë", "e", "á", "a", "í", "i", "Á", "a", "ó", "o", "'", "", " ", "")

// address is an address that no mail can reach.
func address(first, last string, n int) string {
	return fmt.Sprintf("%s.%s.%d@demo.example", strings.ToLower(plain.Replace(first)), strings.ToLower(plain.Replace(last)), n)
}
