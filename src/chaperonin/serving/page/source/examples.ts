/** Proteins and descriptions to begin with: sequences as in UniProt, places as in examples/places.tsv. */

export interface Example {
  name: string;
  /** What it is known for, and whose it is. */
  about: string;
  fasta: string;
}

/** Two of the cytosol and outside, two of the membrane. */
export const EXAMPLES: readonly Example[] = [
  {
    name: "Ubiquitin",
    about: "Marks proteins for degradation (human, 76 residues)",
    fasta: [
      ">P0CG48_1-76 ubiquitin",
      "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYN",
      "IQKESTLHLVLRLRGG",
    ].join("\n"),
  },
  {
    name: "GFP",
    about: "Green fluorescent protein of a jellyfish (238 residues)",
    fasta: [
      ">P42212 GFP",
      "MSKGEELFTGVVPILVELDGDVNGHKFSVSGEGEGDATYGKLTLKFICTTGKLPVPWPTL",
      "VTTFSYGVQCFSRYPDHMKQHDFFKSAMPEGYVQERTIFFKDDGNYKTRAEVKFEGDTLV",
      "NRIELKGIDFKEDGNILGHKLEYNYNSHNVYIMADKQKNGIKVNFKIRHNIEDGSVQLAD",
      "HYQQNTPIGDGPVLLPDNHYLSTQSALSKDPNEKRDHMVLLEFVTAAGITHGMDELYK",
    ].join("\n"),
  },
  {
    name: "Bacteriorhodopsin",
    about: "Light-driven proton pump with seven helices in the membrane (262 residues)",
    fasta: [
      ">P02945 bacteriorhodopsin",
      "MLELLPTAVEGVSQAQITGRPEWIWLALGTALMGLGTLYFLVKGMGVSDPDAKKFYAITT",
      "LVPAIAFTMYLSMLLGYGLTMVPFGGEQNPIYWARYADWLFTTPLLLLDLALLVDADQGT",
      "ILALVGADGIMIGTGLVGALTKVYSYRFVWWAISTAAMLYILYVLFFGFTSKAESMRPEV",
      "ASTFKVLRNVTVVLWSAYPVVWLIGSEGAGIVPLNIETLLFMVLDVSAKVGFGLILLRSR",
      "AIFGEAEAPEPSAGDGAAATSD",
    ].join("\n"),
  },
  {
    name: "Aquaporin-1",
    about: "Lets water through the membrane and keeps protons out (human, 269 residues)",
    fasta: [
      ">P29972 aquaporin-1",
      "MASEFKKKLFWRAVVAEFLATTLFVFISIGSALGFKYPVGNNQTAVQDNVKVSLAFGLSI",
      "ATLAQSVGHISGAHLNPAVTLGLLLSCQISIFRALMYIIAQCVGAIVATAILSGITSSLT",
      "GNSLGRNDLADGVNSGQGLGIEIIGTLQLVLCVLATTDRRRRDLGGSAPLAIGLSVALGH",
      "LLAIDYTGCGINPARSFGSAVITHNFSNHWIFWVGPFIGGALAVLIYDFILAPRSSDLTD",
      "RVKVWTSGQVEEYDLDADDINSRVEMKPK",
    ].join("\n"),
  },
];

/** Where in the cell a protein works: a label, a tab and a description a line. */
export const PLACES: readonly string[] = [
  "membrane\tA protein located at the cell membrane.",
  "cytoplasm\tA protein located in the cytoplasm.",
  "reticulum\tA protein located in the endoplasmic reticulum.",
  "Golgi\tA protein located in the Golgi apparatus.",
  "lysosome\tA protein located in the lysosome or vacuole.",
  "mitochondrion\tA protein located in the mitochondrion.",
  "nucleus\tA protein located in the nucleus.",
  "peroxisome\tA protein located in the peroxisome.",
  "plastid\tA protein located in the plastid.",
  "extracellular\tA protein that is secreted.",
];
