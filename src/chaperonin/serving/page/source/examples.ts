/** Proteins to begin with: two of the cytosol and outside, two of the membrane (sequences as in UniProt). */

export interface Example {
  name: string;
  /** What it is known for, and whose it is. */
  about: string;
  fasta: string;
}

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
